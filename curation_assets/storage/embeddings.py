"""Embeddings of a pool as lazy rows: shard after shard, memory-mapped, never all in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation_assets.storage.outputs import Output

ARRAY = "npy"
ROWS = "rows.parquet"
REJECTED = "rejected.parquet"
SIGNATURES = "signatures.npy"
"""uint8 (n, 192), of image pools: 8 x 8 pixels of every row, by which resized copies are known."""
SIGNATURE_LENGTH = 192


class ShardedEmbeddings:
    """The rows of many shards as one matrix, in the order of the shards given (see algorithms.rows.Rows).

    Args:
        outputs: outputs of the asset `embeddings`, in the pool's canonical order.
        kept: for each of them the rows to read, ascending; None reads all.

    Raises:
        StaleInputError: if a shard was not embedded yet.
    """

    def __init__(self, outputs: Sequence[Output], kept: Sequence[np.ndarray | None] | None = None) -> None:
        self._outputs = list(outputs)
        self._kept = [None] * len(self._outputs) if kept is None else list(kept)
        facts = [output.require_facts() for output in self._outputs]
        self.shards = [str(output.shard) for output in self._outputs]
        sizes = [
            fact.summary["n_rows"] if rows is None else len(rows)
            for fact, rows in zip(facts, self._kept, strict=True)
        ]
        self.sizes = np.array(sizes, dtype=np.int64)
        self.starts = np.cumsum(self.sizes) - self.sizes
        self._dimension = next((int(fact.summary["dimension"]) for fact in facts), 0)
        self._arrays: dict[int, np.ndarray] = {}

    @property
    def n_rows(self) -> int:
        """Rows of all shards."""
        return int(self.sizes.sum())

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self._dimension

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop as float32 (stop - start, d)."""
        block = np.empty((stop - start, self._dimension), dtype=np.float32)
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        position = start
        for shard in range(max(first, 0), len(self._outputs)):
            if position >= stop:
                break
            inside = slice(position - self.starts[shard], min(stop - self.starts[shard], self.sizes[shard]))
            kept = self._kept[shard]
            piece = self._array(shard)[inside if kept is None else kept[inside]]
            block[position - start : position - start + len(piece)] = piece
            position += len(piece)
        return block

    def take(self, indices: np.ndarray) -> np.ndarray:
        """The named rows, in the order given, as float32 (len(indices), d)."""
        block = np.empty((len(indices), self._dimension), dtype=np.float32)
        shard_of_row = np.searchsorted(self.starts, indices, side="right") - 1
        # An empty shard starts where the next one does: the last of equal starts holds the row.
        for shard in np.unique(shard_of_row):
            inside = np.flatnonzero(shard_of_row == shard)
            rows, kept = indices[inside] - self.starts[shard], self._kept[shard]
            block[inside] = self._array(int(shard))[rows if kept is None else kept[rows]]
        return block

    def _array(self, shard: int) -> np.ndarray:
        if shard not in self._arrays:
            if len(self._arrays) > 64:
                # Memory maps are cheap, but arrays of a remote store are whole copies.
                self._arrays.pop(next(iter(self._arrays)))
            self._arrays[shard] = self._outputs[shard].array(ARRAY)
        return self._arrays[shard]
