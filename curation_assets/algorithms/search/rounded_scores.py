"""A first look in bfloat16, with a proven bound: what it rules out needs no float32 comparison."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from curation_assets.algorithms.search.row_maxima import row_argmax, row_maxima
from curation_assets.algorithms.threads import in_row_parts

VALUE_ROUNDOFF = 2.0**-8
"""Share of itself by which rounding to bfloat16 may change a number."""
TWO_TERM_ROUNDOFF = 2.0**-16
"""What two numbers in bfloat16 may be off by of the one they stand for, see `two_terms`."""
PRODUCT_ROUNDOFF = 2 * VALUE_ROUNDOFF
"""Share of a product in bfloat16 by which it may be lower than the sum that was rounded to it."""
# Columns beside the row itself: 1, 1 and minus the row's threshold, against the bias and 1, 1.
_EXTRA = 4
# With a smaller advantage the second, exact look costs more than the first one saves.
_WORTHWHILE = 1.5
_TILE_BYTES = 8 * 2**20
_TILE_COLUMNS = 65_536
# Smaller products are over before their preparation pays (measured).
_FEWEST_CENTROIDS, _FEWEST_DIMENSIONS = 192, 64
_LARGEST_VALUE = 1e18
# Contenders of a row, on average, from which one float32 product is cheaper than to compare each of them.
_MOST_CONTENDERS = 64


@functools.cache
def bfloat16_is_faster(device: str) -> bool:
    """Whether products in bfloat16 clearly beat float32 here, tried out once in a few milliseconds.

    Args:
        device: torch device.
    """
    if device == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        # It has no instructions for them, and to find out takes a quarter of a second.
        return False
    seconds = {}
    for kind in (torch.bfloat16, torch.float32):
        left = torch.ones(1024, 384, dtype=kind, device=device)
        runs = []
        for _ in range(5):
            began = time.perf_counter()
            float((left @ left[:512].T)[0, 0])
            runs.append(time.perf_counter() - began)
        seconds[kind] = min(runs)
    return seconds[torch.float32] > _WORTHWHILE * seconds[torch.bfloat16]


@contextmanager
def float32_accumulation() -> Iterator[None]:
    """Inside the block CUDA multiplies float32 as such (no TF32) and adds up bfloat16 products in float32 only.

    The error bounds of this package presume both, whatever the process has set.
    """
    settings = torch.backends.cuda.matmul
    before = settings.allow_bf16_reduced_precision_reduction, settings.allow_tf32
    settings.allow_bf16_reduced_precision_reduction, settings.allow_tf32 = False, False
    try:
        yield
    finally:
        settings.allow_bf16_reduced_precision_reduction, settings.allow_tf32 = before


def rounding_residuals(block: torch.Tensor) -> torch.Tensor:
    """Length of what rounding to bfloat16 takes from each row, float32 (b,).

    Args:
        block: float32 (b, d).
    """
    return torch.linalg.vector_norm(block - block.bfloat16().float(), dim=1) * (1 + 1e-5)


def rounding_error(
    norms: torch.Tensor,
    residuals: torch.Tensor,
    largest_norm: float,
    largest_residual: float,
    of_constants: torch.Tensor | float,
) -> torch.Tensor:
    """What rounding rows and centroids to bfloat16 may take from their products, float32 (b,).

    Args:
        norms: float32 (b,): lengths of the rows.
        residuals: float32 (b,), see `rounding_residuals`.
        largest_norm: of the centroids.
        largest_residual: of the centroids.
        of_constants: what it may take from numbers that are added to a product.
    """
    of_rows = residuals * largest_norm
    of_centroids = (norms + residuals) * largest_residual
    return (of_rows + of_centroids + of_constants) * (1 + 1e-5)


class RoundedCentroids:
    """Centroids in bfloat16, ready for products with rounded rows.

    A product yields (score of a centroid) - (the row's threshold), so that rounding the result hurts least where
    the two are close.

    Args:
        centroids: float32 (k, d).
        bias: float32 (k,), see `Codebook`.
        largest_norm: of the centroids.
    """

    def __init__(self, centroids: torch.Tensor, bias: torch.Tensor, largest_norm: float) -> None:
        rounded = torch.empty(
            len(centroids), centroids.shape[1] + _EXTRA, dtype=torch.bfloat16, device=bias.device
        )
        rounded[:, :-_EXTRA] = centroids
        rounded[:, -4], rounded[:, -3] = two_terms(bias)
        rounded[:, -2:] = 1
        self._rounded = rounded
        self._residual = float(rounding_residuals(centroids).max())
        self._largest_norm = largest_norm
        self._largest_bias = float(bias.abs().max())

    @classmethod
    def if_worthwhile(
        cls, centroids: torch.Tensor, bias: torch.Tensor, largest_norm: float
    ) -> RoundedCentroids | None:
        """The centroids rounded, or None where a first look at them would not pay on this device."""
        large = len(centroids) >= _FEWEST_CENTROIDS and centroids.shape[1] >= _FEWEST_DIMENSIONS
        if large and largest_norm < _LARGEST_VALUE and bfloat16_is_faster(str(bias.device)):
            return cls(centroids, bias, largest_norm)
        return None

    def tile_rows(self) -> int:
        """Rows whose products with all centroids fit the cache."""
        return max(64, min(8192, _TILE_BYTES // (2 * min(len(self._rounded), _TILE_COLUMNS))))

    def leaders(
        self,
        block: torch.Tensor,
        norms: torch.Tensor,
        residuals: torch.Tensor,
        thresholds: torch.Tensor,
        exact_bound: torch.Tensor,
        left_out: torch.Tensor | None = None,
        floor: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The centroid that looks nearest to each row, and what it and all others exceed a threshold by at most.

        Args:
            block: float32 (b, d).
            norms: float32 (b,): lengths of the rows.
            residuals: float32 (b,), see `rounding_residuals`.
            thresholds: float32 (b,).
            exact_bound: float32 (b,): what a float32 score may be off by, which covers the summation here.
            left_out: int64 (b,): position of a centroid that does not count, or -1.
            floor: float32 (b,): a row that cannot exceed its threshold by as much needs no leader; any centroid
                may be named for it, and the bound for the others is the one for all.

        Returns:
            The centroid int64 (b,), float32 (b,) for it, and float32 (b,) for every other one.
        """
        of_rows = (block, norms, residuals, thresholds, exact_bound, left_out, floor)
        parts = in_row_parts(self._leaders, of_rows, self._rounded.numel())
        leader, of_best, of_others = (
            torch.cat(values) for values in zip(*(found for _, found in parts), strict=True)
        )
        return leader, of_best, of_others

    def _leaders(
        self,
        block: torch.Tensor,
        norms: torch.Tensor,
        residuals: torch.Tensor,
        thresholds: torch.Tensor,
        exact_bound: torch.Tensor,
        left_out: torch.Tensor | None,
        floor: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows = _rounded_rows(block, thresholds)
        best = torch.full((len(block),), -torch.inf, device=block.device)
        second, leader = best.clone(), torch.zeros(len(block), dtype=torch.int64, device=block.device)
        for start in range(0, len(self._rounded), _TILE_COLUMNS):
            products = rows @ self._rounded[start : start + _TILE_COLUMNS].T
            if left_out is not None:
                position = left_out - start
                hit = torch.nonzero((position >= 0) & (position < products.shape[1])).flatten()
                products[hit, position[hit]] = -torch.inf
            here = row_maxima(products)
            others, column = here.clone(), torch.zeros_like(leader)
            rows_here: slice | torch.Tensor = slice(None)
            if floor is not None:
                above = self._upper_bound(here, norms, residuals, thresholds, exact_bound) >= floor
                rows_here = torch.nonzero(above).flatten()
                products = products.index_select(0, rows_here)
            found = row_argmax(products)
            products[torch.arange(len(found), device=found.device), found] = -torch.inf
            others[rows_here], column[rows_here] = row_maxima(products), found
            wins = here > best
            second = torch.maximum(torch.minimum(best, here), torch.where(wins, others, second))
            best = torch.where(wins, here, best)
            leader = torch.where(wins, column + start, leader)
        of_best, of_others = (
            self._upper_bound(products, norms, residuals, thresholds, exact_bound)
            for products in (best, second)
        )
        return leader, of_best, of_others

    def contenders(
        self,
        block: torch.Tensor,
        norms: torch.Tensor,
        residuals: torch.Tensor,
        thresholds: torch.Tensor,
        exact_bound: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Every centroid whose score may reach a row's threshold.

        Args:
            block: float32 (b, d).
            norms: float32 (b,): lengths of the rows.
            residuals: float32 (b,), see `rounding_residuals`.
            thresholds: float32 (b,).
            exact_bound: see `leaders`.

        Returns:
            Pairs of a row of the block, int64 (p,), and a centroid, int64 (p,); None if they are so many that it is
            cheaper to compare the rows with all centroids.
        """
        of_rows = (block, norms, residuals, thresholds, exact_bound)
        found: list[tuple[torch.Tensor, torch.Tensor]] = []
        for start, pairs in in_row_parts(self._contenders, of_rows, self._rounded.numel()):
            if pairs is None:
                return None
            found.append((start + pairs[0], pairs[1]))
        return torch.cat([row for row, _ in found]), torch.cat([column for _, column in found])

    def _contenders(
        self,
        block: torch.Tensor,
        norms: torch.Tensor,
        residuals: torch.Tensor,
        thresholds: torch.Tensor,
        exact_bound: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        rows = _rounded_rows(block, thresholds)
        # Where a product and its own rounding cannot make up for the error; a little lower, as it is rounded too.
        lowest = (-1.02 * self._error(norms, residuals, thresholds, exact_bound)).bfloat16()
        found: list[tuple[torch.Tensor, torch.Tensor]] = []
        room = _MOST_CONTENDERS * len(block)
        for start in range(0, len(self._rounded), _TILE_COLUMNS):
            products = rows @ self._rounded[start : start + _TILE_COLUMNS].T
            pairs = _pairs_at_least(products, lowest, room)
            if pairs is None:
                return None
            room -= len(pairs[0])
            found.append((pairs[0], pairs[1] + start))
        return torch.cat([row for row, _ in found]), torch.cat([column for _, column in found])

    def _upper_bound(
        self,
        products: torch.Tensor,
        norms: torch.Tensor,
        residuals: torch.Tensor,
        thresholds: torch.Tensor,
        exact_bound: torch.Tensor,
    ) -> torch.Tensor:
        error = self._error(norms, residuals, thresholds, exact_bound)
        return products + products.abs() * PRODUCT_ROUNDOFF + error

    def _error(
        self,
        norms: torch.Tensor,
        residuals: torch.Tensor,
        thresholds: torch.Tensor,
        exact_bound: torch.Tensor,
    ) -> torch.Tensor:
        """What a product may be off by before it is rounded itself, float32 (b,)."""
        of_constants = TWO_TERM_ROUNDOFF * (thresholds.abs() + self._largest_bias)
        of_products = rounding_error(norms, residuals, self._largest_norm, self._residual, of_constants)
        return of_products + 4 * exact_bound


def _pairs_at_least(
    products: torch.Tensor, lowest: torch.Tensor, most: int
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Positions of products of at least the row's `lowest`, which is negative; None if they are more than `most`."""
    if products.device.type != "cpu":
        found = products >= lowest[:, None]
        if int(found.sum()) > most:
            return None
        positions = torch.nonzero(found)
        return positions[:, 0], positions[:, 1]
    # Bits of all that is not below a negative number are, read without a sign, integers not above its own.
    bits, limit = (values.view(torch.int16).numpy().view(np.uint16) for values in (products, lowest))
    hits = bits <= limit[:, None]
    if np.count_nonzero(hits) > most:
        return None
    # Of a flat array it is ten times faster (measured).
    row, column = np.divmod(np.flatnonzero(hits), products.shape[1])
    return torch.from_numpy(row), torch.from_numpy(column)


def _rounded_rows(block: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    rows = torch.empty(len(block), block.shape[1] + _EXTRA, dtype=torch.bfloat16, device=block.device)
    rows[:, :-_EXTRA] = block
    rows[:, -4:-2] = 1
    rows[:, -2], rows[:, -1] = two_terms(-thresholds)
    return rows


def two_terms(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two numbers in bfloat16 for each of float32 (b,), whose sum is that, up to `TWO_TERM_ROUNDOFF`."""
    first = values.bfloat16()
    return first, (values - first.float()).bfloat16()
