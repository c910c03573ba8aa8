"""From values of more than 8 bits to 8: by the bits in use, or by bounds that no-data values do not move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

VISIBLE_RANGE = 8
"""Levels, of 255: a picture whose values differ by no more looks like one colour."""
_LEVELS_16 = 2**16
# What programs write where they have no value, beside the ends of the number's type.
_USUAL_NO_DATA = (-9999.0, -32768.0, -32767.0, -99999.0, float(2**16 - 1), float(2**31 - 1), float(2**32 - 1))
_BEYOND_DATA = 1e20
"""Floats from here on are no data: formats use 1e20, 9.97e36 and 3.4e38."""
_GAP = 1.5
"""Distance of a no-data value to the others, in ranges of the others."""
_OUTLIER_SHARE = 0.001
_OUTLIER_GAP = 4.0
_FEWEST_LEVELS_WITH_OUTLIERS = 16
"""Images of fewer levels are maps of classes, where a rare value is no outlier."""
_FEWEST_LEVELS_STRETCHED = 64
"""Levels of 16 bits that a narrow band must span to be stretched: below it is noise."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What an image's header says of its values; None where it says nothing."""

    low: float | None = None
    high: float | None = None
    no_data: float | None = None
    white_is_low: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map of values to 0 to 255; values beyond either end become that end."""

    low: float
    high: float
    white_is_low: bool = False

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values of any number type and shape as uint8 of the same shape. NaN becomes the lower end."""
        if values.dtype == np.uint16:
            return self._of_16_bits()[values]
        return self._of_floats(values.astype(np.float64))

    def _of_16_bits(self) -> np.ndarray:
        """uint8 (65536,): every value."""
        every = np.arange(_LEVELS_16)
        if (self.low, self.high) == (0, _LEVELS_16 - 1):
            shown = (every >> 8).astype(np.uint8)
            return 255 - shown if self.white_is_low else shown
        return self._of_floats(every.astype(np.float64))

    def _of_floats(self, values: np.ndarray) -> np.ndarray:
        factor = 255.0 / (self.high - self.low) if self.high > self.low else 0.0
        np.nan_to_num(values, copy=False, nan=self.low, posinf=self.high, neginf=self.low)
        np.clip(values, self.low, self.high, out=values)
        values -= self.low
        values *= factor
        shown = values.round(out=values).astype(np.uint8)
        return 255 - shown if self.white_is_low else shown


def scale_of_16_bits(counts: np.ndarray, declared: Declared = Declared()) -> Scale:
    """How unsigned values below 2^16 are shown: by the range that the header declares, or else by the bits in use.

    The bits in use are those of the largest value that is neither no data nor an outlier: for 12 bits the scale ends
    at 4,095. A declared range that would show one colour only does not count, and a narrow band of large values is
    stretched.

    Args:
        counts: int64 (65536,): pixels with each value, in all colours together.
        declared: by the header.
    """
    levels = np.flatnonzero(counts)
    low, high = _robust_bounds(levels.astype(np.float64), counts[levels], declared.no_data)
    top = float(2 ** int(high).bit_length() - 1) if high > 0 else 0.0
    bottom = 0.0
    if declared.high is not None and high <= declared.high:
        start = declared.low if declared.low is not None and 0 < declared.low <= low else 0.0
        if _is_visible(low, high, declared.high - start):
            bottom, top = start, declared.high
    if not _is_visible(low, high, top - bottom) and high - low >= _FEWEST_LEVELS_STRETCHED:
        bottom, top = low, high
    return Scale(bottom, top, declared.white_is_low)


def scale_of_sample(values: np.ndarray, declared: Declared = Declared()) -> Scale | None:
    """How signed, wide or float values are shown: stretched between their bounds; None if no value is finite.

    Args:
        values: (n,): the smallest and largest finite value of the image, and a sample of the others.
        declared: by the header.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    levels, counts = np.unique(finite, return_counts=True)
    no_data = None if declared.no_data is None else float(values.dtype.type(declared.no_data))
    low, high = _robust_bounds(levels.astype(np.float64), counts, no_data)
    return Scale(low, high, declared.white_is_low)


def _is_visible(low: float, high: float, width: float) -> bool:
    return width > 0 and (high - low) * 255 > VISIBLE_RANGE * width


def _robust_bounds(levels: np.ndarray, counts: np.ndarray, no_data: float | None) -> tuple[float, float]:
    """Lowest and highest level without no-data values and outliers, if two levels or more are left.

    Args:
        levels: float64 (m,), ascending, all different.
        counts: int64 (m,): pixels of each.
        no_data: level that the header names.
    """
    kept = np.abs(levels) < _BEYOND_DATA
    if no_data is not None:
        kept &= levels != no_data
    if kept.sum() > 1:
        levels, counts = levels[kept], counts[kept]
    for _ in range(2):
        if len(levels) > 2 and levels[0] in _USUAL_NO_DATA and _lies_apart(levels):
            levels, counts = levels[1:], counts[1:]
        if len(levels) > 2 and levels[-1] in _USUAL_NO_DATA and _lies_apart(-levels[::-1]):
            levels, counts = levels[:-1], counts[:-1]
    low, high = float(levels[0]), float(levels[-1])
    if len(levels) < _FEWEST_LEVELS_WITH_OUTLIERS:
        return low, high
    below = np.cumsum(counts)
    inner_low = float(levels[np.searchsorted(below, _OUTLIER_SHARE * below[-1], side="right")])
    inner_high = float(levels[np.searchsorted(below, (1 - _OUTLIER_SHARE) * below[-1], side="left")])
    width = inner_high - inner_low
    inside = np.count_nonzero((levels >= inner_low) & (levels <= inner_high))
    if inside >= _FEWEST_LEVELS_WITH_OUTLIERS:
        low = inner_low if inner_low - low > _OUTLIER_GAP * width else low
        high = inner_high if high - inner_high > _OUTLIER_GAP * width else high
    return low, high


def _lies_apart(levels: np.ndarray) -> bool:
    """Whether the first of three or more ascending levels lies far from the others."""
    return bool(levels[1] - levels[0] >= _GAP * (levels[-1] - levels[1]))
