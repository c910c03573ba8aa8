"""From stored embeddings to inputs of a fit: centring, normalisation, and rounding to a grid of exact sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curation_assets.algorithms.rows import Rows, Stored, StoredHalves, as_float32, read_chunks
from curation_assets.algorithms.settings import Metric

# Rows are rounded to integer multiples of a step with at most 2^24 steps to the largest value. Sums of up to
# 2^29 such rows are exact in float64, so a centroid does not depend on the order, the chunks, the device or
# the number of workers that summed it.
GRID_BITS = 24
# Of float64 rows worked on at once: they stay in the second-level cache, which is three times faster (measured).
_BLOCK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How rows of a pool become inputs of level 1; fitted once, then applied to old and new rows alike."""

    metric: Metric
    mean: np.ndarray | None
    """float32 (d,): subtracted first; None without centring."""
    grid_step: float
    """Values are rounded to multiples of this power of two."""

    def apply(self, block: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Centre, normalise (cosine) and round a block.

        Args:
            block: float array (b, d).
            out: float32 (b, d) in C order to write to, which may be `block` itself; a new array if not given.

        Returns:
            float32 array (b, d). A row of zeros stays zero. Memory beside it: 2 MiB.
        """
        if out is None:
            out = np.empty(block.shape, dtype=np.float32)
        step = max(1, _BLOCK_BYTES // (8 * max(1, block.shape[1])))
        scratch = np.empty((min(step, len(block)), block.shape[1]))
        # A power of two: its inverse is exact, and so is the product with either.
        per_step, grid_step = np.float32(1 / self.grid_step), np.float32(self.grid_step)
        for start in range(0, len(block), step):
            result = out[start : start + step]
            rows = as_float32(block[start : start + step])
            if self.mean is not None:
                rows = np.subtract(rows, self.mean, out=result)
            if self.metric == "cosine":
                wide = scratch[: len(rows)]
                np.copyto(wide, rows)
                np.divide(wide, _lengths(wide)[:, None], out=wide)
                # Rounded to float32 before the grid: stored trees were fitted on such rows.
                rows = result
                np.copyto(rows, wide, casting="same_kind")
            np.multiply(rows, per_step, out=result)
            np.rint(result, out=result)
            np.multiply(result, grid_step, out=result)
        return out

    def lengths(self, block: np.ndarray) -> np.ndarray:
        """What `apply` divides rows by, to the last bit.

        Args:
            block: float array (b, d).

        Returns:
            float64 (b,): lengths of the rows after centring, 1 for rows of zeros.
        """
        found = np.empty(len(block))
        for start, rows in self._blocks(block):
            found[start : start + len(rows)] = _lengths(rows.astype(np.float64))
        return found

    def _blocks(self, block: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Blocks of rows of about 1 MiB as float64, centred, as float32."""
        step = max(1, _BLOCK_BYTES // (8 * max(1, block.shape[1])))
        for start in range(0, len(block), step):
            rows = as_float32(block[start : start + step])
            yield start, rows if self.mean is None else rows - self.mean


def _lengths(wide: np.ndarray) -> np.ndarray:
    """Lengths of rows float64 (b, d), and 1 for rows of zeros, float64 (b,)."""
    norms: np.ndarray = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    norms[norms == 0] = 1.0
    return norms


def fit_preprocessing(
    rows: Rows, *, metric: Metric, centring: bool, chunk_bytes: int | None = None
) -> Preprocessing:
    """Measure what `Preprocessing` needs in at most one pass over the rows.

    Args:
        rows: the pool's embeddings.
        metric: 'cosine' or 'l2'.
        centring: subtract the pool's mean embedding.
        chunk_bytes: see `read_chunks`.

    Raises:
        ValueError: if `metric` is unknown, there are no rows, or an embedding is NaN or infinite.
    """
    if metric not in ("cosine", "l2"):
        raise ValueError(f"metric must be 'cosine' or 'l2', got {metric!r}")
    if rows.n_rows == 0:
        raise ValueError("the pool has no rows: nothing can be clustered")
    total = np.zeros(rows.dimension)
    low, high = np.full(rows.dimension, np.inf), np.full(rows.dimension, -np.inf)
    for start, block in read_chunks(rows, chunk_bytes):
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
    """The smallest power of two s for which `largest` is at most 2^24 s."""
    return 2.0 ** (int(np.ceil(np.log2(largest))) - GRID_BITS) if largest > 0 else 2.0**-GRID_BITS


class PreparedRows:
    """Stored rows seen through a `Preprocessing`, block by block: nothing is held in memory."""

    def __init__(self, source: Rows, preprocessing: Preprocessing) -> None:
        self.source, self.preprocessing = source, preprocessing
        self.n_rows, self.dimension = source.n_rows, source.dimension

    def read(self, start: int, stop: int) -> np.ndarray:
        """See `Rows.read`."""
        return self.preprocessing.apply(self.source.read(start, stop))

    def take(self, indices: np.ndarray) -> np.ndarray:
        """See `Rows.take`."""
        block = self.source.take(indices)
        return self.preprocessing.apply(block, out=block)

    def stored(self) -> Stored | None:
        """See `algorithms.rows.HasStored`."""
        source, how = self.source, self.preprocessing
        if not isinstance(source, StoredHalves) or not source.is_half:
            return None
        return Stored(source, how.mean, how.lengths if how.metric == "cosine" else None, how.grid_step)
