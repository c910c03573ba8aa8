"""From stored embeddings to inputs of a fit: centring, normalisation, and rounding to a grid of exact sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation_assets.algorithms.rows import Metric, Rows, chunk_bounds

# Rows are rounded to integer multiples of a step with at most 2^24 steps to the largest value. Sums of up to
# 2^29 such rows are exact in float64, so a centroid does not depend on the order, the chunks, the device or
# the number of workers that summed it.
GRID_BITS = 24


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How rows of a pool become inputs of level 1; fitted once, then applied to old and new rows alike."""

    metric: Metric
    mean: np.ndarray | None
    """float32 (d,): subtracted first; None without centring."""
    grid_step: float
    """Values are rounded to multiples of this power of two."""

    def apply(self, block: np.ndarray) -> np.ndarray:
        """Centre, normalise (cosine) and round a block.

        Args:
            block: float array (b, d).

        Returns:
            float32 array (b, d). A row of zeros stays one.
        """
        block = np.asarray(block, dtype=np.float32)
        if self.mean is not None:
            block = block - self.mean
        if self.metric == "cosine":
            block = normalise_rows(block)
        return np.asarray(np.rint(block * np.float32(1 / self.grid_step)) * np.float32(self.grid_step))


def normalise_rows(block: np.ndarray) -> np.ndarray:
    """Rows scaled to unit Euclidean length as float32; a row of zeros stays zero.

    Args:
        block: float array (b, d).
    """
    wide = block.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    norms[norms == 0] = 1.0
    return (wide / norms[:, None]).astype(np.float32)


def fit_preprocessing(rows: Rows, *, metric: Metric, centring: bool) -> Preprocessing:
    """Measure what `Preprocessing` needs in at most one pass over the rows.

    Args:
        rows: the pool's embeddings.
        metric: 'cosine' or 'l2'.
        centring: subtract the pool's mean embedding.

    Raises:
        ValueError: if `metric` is unknown, there is no row, or an embedding is NaN or infinite.
    """
    if metric not in ("cosine", "l2"):
        raise ValueError(f"metric must be 'cosine' or 'l2', got {metric!r}")
    if rows.n_rows == 0:
        raise ValueError("the pool has no rows: nothing can be clustered")
    total = np.zeros(rows.dimension)
    low, high = np.full(rows.dimension, np.inf), np.full(rows.dimension, -np.inf)
    for start, stop in chunk_bounds(rows):
        block = rows.read(start, stop)
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            row = start + int(np.flatnonzero(~finite)[0])
            raise ValueError(f"row {row} of the embeddings is not finite: drop or re-encode it")
        total += block.sum(axis=0, dtype=np.float64)
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    mean = (total / rows.n_rows).astype(np.float32) if centring else None
    if metric == "cosine":
        largest = 1.0
    else:
        offset = np.zeros(rows.dimension) if mean is None else mean
        largest = float(np.maximum(np.abs(low - offset), np.abs(high - offset)).max())
    return Preprocessing(metric, mean, grid_step_for(largest))


def grid_step_for(largest: float) -> float:
    """The power of two of which `largest` is at most 2^24 steps."""
    return 2.0 ** (int(np.ceil(np.log2(largest))) - GRID_BITS) if largest > 0 else 2.0**-GRID_BITS


class PreparedRows:
    """Rows seen through a `Preprocessing`, block by block: nothing is held in memory."""

    def __init__(self, rows: Rows, preprocessing: Preprocessing) -> None:
        self._rows = rows
        self._preprocessing = preprocessing

    @property
    def source(self) -> Rows:
        """The rows as they are stored."""
        return self._rows

    @property
    def preprocessing(self) -> Preprocessing:
        """What they are seen through."""
        return self._preprocessing

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._rows.n_rows

    @property
    def dimension(self) -> int:
        """Length of a row."""
        return self._rows.dimension

    def read(self, start: int, stop: int) -> np.ndarray:
        """See `Rows.read`."""
        return self._preprocessing.apply(self._rows.read(start, stop))

    def take(self, indices: np.ndarray) -> np.ndarray:
        """See `Rows.take`."""
        return self._preprocessing.apply(self._rows.take(indices))
