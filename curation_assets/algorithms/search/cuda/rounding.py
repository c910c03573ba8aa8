"""Rows and centroids in float16, and a proven bound on the rounding error of their scores.

Each row, and all centroids together, are first divided by a power of two, so that float16 neither overflows nor loses
small values. What rounding takes away is measured, not assumed; see `ScoreError`. Rows that are held as they are stored
are float16 already.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TypeVar

import torch

from curation_assets.algorithms.search.cuda.compact import (
    Block,
    CompactBlock,
    is_its_own_view,
    padded,
    prepared,
)

Bound = TypeVar("Bound", float, torch.Tensor)
FILL = 256
"""Centroids are padded to a multiple of it, with centroids that cannot win."""
NO_SCORE = -3e38
"""Score of a centroid that does not count, see `kernels.NO_SCORE`."""
LARGEST_NORM = 1e18
"""Scores of longer rows and centroids may leave the range of float32."""
# Exponents of the largest value of the centroids, and of a row's length, after the division.
_CENTROID_EXPONENT, _ROW_EXPONENT = 14, 8
# Float32 holds these powers of two and their inverses.
_MOST_EXPONENT = 100
_VALUES_AT_ONCE = 2**26
# Of a number that is rounded, relative.
_FLOAT32_ERROR = 2.0**-24
# See `ScoreError`.
_STEP_ERROR, _HOPPER_STEP_ERROR = 1.5 * 2.0**-24, 0.75 * 2.0**-24
# Bounds are computed in float32, from lengths in float32.
_SLACK = 1 + 1e-4


def row_bytes(dimension: int) -> int:
    """Bytes of a row of some dimension in `HalfRows`."""
    return 2 * padded(dimension) + 8


@dataclass(frozen=True, slots=True)
class HalfRows:
    """Rows in float16: the view that `CudaCentroids` takes."""

    values: torch.Tensor
    """float16 (n, d'), d' the next multiple of `PIECE`; a row is about its scale times its values."""
    scales: torch.Tensor
    """float32 (n,)."""
    residuals: torch.Tensor
    """float32 (n,): at least the length of the rounding error of each row."""
    largest_norm: float
    """No row is longer; not finite if a row is not."""

    @classmethod
    def of(cls, block: Block, norms: torch.Tensor, largest_norm: float | None = None) -> HalfRows:
        """Round rows; waits for the device once, unless `largest_norm` is given.

        Args:
            block: n rows: float16 or compact without a mean, taken as they are; or compact, float32 or bfloat16.
            norms: float32 (n,): lengths of the rows.
            largest_norm: no row is longer.
        """
        if isinstance(block, CompactBlock) and is_its_own_view(block):
            return cls._of_stored(block, norms)
        n_rows, dimension = block.shape
        width = padded(dimension)
        largest = (float(norms.amax()) if n_rows else 0.0) if largest_norm is None else largest_norm
        if isinstance(block, torch.Tensor) and block.dtype == torch.float16:
            values = block.contiguous()
            if width != dimension or values.data_ptr() % 16:
                values = block.new_zeros(n_rows, width)
                values[:, :dimension] = block
            return cls(values, torch.ones_like(norms), torch.zeros_like(norms), largest)
        values = torch.zeros(n_rows, width, dtype=torch.float16, device=block.device)
        residuals = torch.empty_like(norms)
        exponents = (torch.frexp(norms).exponent - _ROW_EXPONENT).clamp(-_MOST_EXPONENT, _MOST_EXPONENT)
        scales, inverses = _powers_of_two(exponents), _powers_of_two(-exponents)
        step = max(1, _VALUES_AT_ONCE // width)
        for start in range(0, n_rows, step):
            piece = slice(start, start + step)
            wide = prepared(block[piece]).float()
            rounded = (wide * inverses[piece, None]).half()
            values[piece, :dimension] = rounded
            lost = torch.addcmul(wide, rounded.float(), scales[piece, None], value=-1)
            residuals[piece] = torch.linalg.vector_norm(lost, dim=1) * _SLACK
        return cls(values, scales, residuals, largest)

    @classmethod
    def _of_stored(cls, block: CompactBlock, norms: torch.Tensor) -> HalfRows:
        """Rows x as they are stored, whose prepared values p are about x / length."""
        # p is x / length rounded to float32 and to the grid; scale is 1 / length rounded to float32:
        #   |p - scale x| <= (2^-24 + 2^-24) |x| / length + sqrt(d) step / 2
        # Without lengths nothing is lost where the grid has all float16 values, which are multiples of 2^-24.
        dimension, step = block.preparation.dimension, block.preparation.step
        largest = float(norms.amax()) if len(block) else 0.0
        if block.lengths is None:
            lost = 0.0 if step <= _FLOAT32_ERROR else 0.5 * step * math.sqrt(dimension)
            return cls(block.values, torch.ones_like(norms), torch.full_like(norms, lost * _SLACK), largest)
        lost = 2 * _FLOAT32_ERROR + 0.5 * step * math.sqrt(dimension)
        scales = (1 / block.lengths).float()
        return cls(block.values, scales, torch.full_like(norms, lost * _SLACK), largest)

    def __getitem__(self, rows: slice | torch.Tensor) -> HalfRows:
        """Some of the rows."""
        if isinstance(rows, slice):
            values = self.values[rows]
        else:
            rows = rows.to(self.values.device)
            values = self.values.index_select(0, rows)
        return HalfRows(values, self.scales[rows], self.residuals[rows], self.largest_norm)


@dataclass(frozen=True, slots=True)
class HalfViewer:
    """Rounds rows to float16, once for all searches of a fit."""

    @property
    def is_kept(self) -> bool:
        """See `Viewer`."""
        return True

    def view(self, block: Block, norms: torch.Tensor) -> HalfRows:
        """See `Viewer`."""
        return HalfRows.of(block, norms)


@dataclass(frozen=True, slots=True)
class HalfCentroids:
    """Centroids in float16, ready for products with `HalfRows`."""

    values: torch.Tensor
    """float16 (q, d'), q the next multiple of `FILL`; a centroid is about `scale` times its values."""
    bias: torch.Tensor
    """float32 (q,): -|c|^2 / 2, and `NO_SCORE` for padding."""
    n_centroids: int
    """Centroids without padding."""
    scale: float
    """A power of two."""
    largest_norm: float
    """No centroid is longer."""
    largest_residual: float
    """At least the length of the rounding error of every centroid."""

    @classmethod
    def of(cls, centroids: torch.Tensor, bias: torch.Tensor, largest_norm: float) -> HalfCentroids:
        """Round centroids; waits for the device once.

        Args:
            centroids: float32 (k, d).
            bias: float32 (k,): -|c|^2 / 2.
            largest_norm: no centroid is longer; at most `LARGEST_NORM`.
        """
        n_centroids, dimension = centroids.shape
        exponent = torch.frexp(centroids.abs().amax()).exponent - _CENTROID_EXPONENT
        exponent = exponent.clamp(-_MOST_EXPONENT, _MOST_EXPONENT)
        shape = padded(n_centroids, FILL), padded(dimension)
        values = torch.zeros(shape, dtype=torch.float16, device=centroids.device)
        values[:n_centroids, :dimension] = centroids * _powers_of_two(-exponent)
        back = values[:n_centroids, :dimension].float() * _powers_of_two(exponent)
        residual = torch.linalg.vector_norm(centroids - back, dim=1).amax()
        largest_residual, scale = torch.stack([residual, _powers_of_two(exponent)]).tolist()
        filled = torch.full((shape[0],), NO_SCORE, device=centroids.device)
        filled[:n_centroids] = bias
        return cls(values, filled, n_centroids, scale, largest_norm * _SLACK, largest_residual * _SLACK)


@dataclass(frozen=True, slots=True)
class ScoreError:
    """Bound on the error of a row's scores: `of_norm` * |x| + `of_residual` * residual + `constant`.

    With x' and c' the rounded row and centroid:

        |x.c - x'.c'| <= |x| |c - c'| + |x - x'| |c'|                          (Cauchy and Schwarz)

    Products of two float16 are exact in float32. Tensor cores add 8 or 16 of them to a sum at a time: each is cut off
    at 2^-24 of the largest, and the result at 2^-23 of itself (measured on an H200: 16 at a time, at 2^-25 and 2^-23;
    a test on the card repeats it). No partial sum exceeds |x'| |c'|, so with 8 at a time d terms lose at most
    d / 8 (9 / 2 + 1) 2^-23 < 1.4 d 2^-24 of that; on Hopper d / 16 (17 / 4 + 1) 2^-23 < 0.7 d 2^-24. The other
    roundings, of the bias, of a sum times its scale, of scores, of bounds and of a score that is summed in float64,
    stay below 2^-21 of the largest possible score.
    """

    of_norm: float
    of_residual: float
    constant: float

    @classmethod
    def of(cls, centroids: HalfCentroids) -> ScoreError:
        """The bound for scores against some centroids."""
        width, device = centroids.values.shape[1], centroids.values.device
        return cls(*error_factors(centroids.largest_norm, centroids.largest_residual, width, device))

    def of_rows(self, norms: torch.Tensor, rows: HalfRows) -> torch.Tensor:
        """The bound for some rows, float32 (n,).

        Args:
            norms: float32 (n,): lengths of the rows.
            rows: the same ones.
        """
        return self.of_norm * norms + self.of_residual * rows.residuals + self.constant


def error_factors(
    largest_norm: Bound, largest_residual: Bound, width: int, device: torch.device
) -> tuple[Bound, Bound, Bound]:
    """The three numbers of `ScoreError`, or those of many sets of centroids.

    Args:
        largest_norm: no centroid is longer; a number, or float32 (g,).
        largest_residual: no rounding error of a centroid is longer; likewise.
        width: dimensions of a product, those of padding included.
        device: of the products.
    """
    longest = largest_norm + largest_residual
    of_sums = longest * (width * _step_error(device) + 2.0**-21)
    of_norm, of_residual = (largest_residual + of_sums) * _SLACK, (longest + of_sums) * _SLACK
    return of_norm, of_residual, 2.0**-22 * longest**2 * _SLACK + 1e-37


@functools.cache
def _step_error(device: torch.device) -> float:
    """Error of a sum for each product of float16 in it, as a share of the largest partial sum."""
    is_hopper = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == 9
    return _HOPPER_STEP_ERROR if is_hopper else _STEP_ERROR


def _powers_of_two(exponents: torch.Tensor) -> torch.Tensor:
    # Built from their bits: `ldexp` multiplies by a power that is not promised to be exact.
    return ((exponents.to(torch.int32) + 127) << 23).view(torch.float32)
