"""Embeddings of a pool as rows that are read from disk shard by shard, in pieces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation_assets.storage.array_files import ArrayFile
from curation_assets.storage.outputs import Output
from curation_assets.storage.tables import Embedded


class ShardedEmbeddings:
    """The rows of many shards as one matrix, in the given order of shards (see algorithms.rows.Rows).

    Memory: a piece of a shard while it reads, and the numbers of the kept rows.

    Args:
        outputs: of the asset `embeddings`, in the pool's canonical order.
        kept: for each output, the rows to read, ascending; None reads all.

    Raises:
        StaleInputError: if a shard is not embedded yet.
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
        self._files: dict[int, ArrayFile] = {}

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
        return self._read(start, np.empty((stop - start, self._dimension), dtype=np.float32))

    @property
    def is_half(self) -> bool:
        """See `algorithms.rows.StoredHalves`: embeddings of a shard that is not stored as float16 cannot be read so."""
        return True

    def read_half(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop as float16 (stop - start, d)."""
        return self._read(start, np.empty((stop - start, self._dimension), dtype=np.float16))

    def _read(self, start: int, block: np.ndarray) -> np.ndarray:
        """Rows from start on, as many as the block has, float32 or float16, and in its type."""
        stop, half = start + len(block), block.dtype == np.float16
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        position = start
        for shard in range(max(first, 0), len(self._outputs)):
            if position >= stop:
                break
            begin, end = position - self.starts[shard], min(stop - self.starts[shard], self.sizes[shard])
            piece = block[position - start : position - start + end - begin]
            kept = self._kept[shard]
            if kept is None:
                self._file(shard).read(int(begin), piece)
            else:
                for part, rows in self._file(shard).gather(kept[begin:end].astype(np.int64), half=half):
                    piece[part] = rows
            position += len(piece)
        return block

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Rows `indices` in their order, as float32 (len(indices), d); read in the order of the files."""
        block = np.empty((len(indices), self._dimension), dtype=np.float32)
        order = None if (np.diff(indices) >= 0).all() else np.argsort(indices, kind="stable")
        ascending = indices if order is None else indices[order]
        bounds = np.searchsorted(ascending, [*self.starts, self.n_rows])
        for shard in np.flatnonzero(np.diff(bounds)).tolist():
            mine = slice(bounds[shard], bounds[shard + 1])
            rows, kept = ascending[mine] - self.starts[shard], self._kept[shard]
            inside = rows if kept is None else kept[rows].astype(np.int64)
            target = block[mine] if order is None else None
            for part, found in self._file(shard).gather(inside):
                if target is None:
                    block[order[mine][part]] = found  # type: ignore[index]
                else:
                    target[part] = found
        return block

    def _file(self, shard: int) -> ArrayFile:
        if shard not in self._files:
            self._files[shard] = ArrayFile(self._outputs[shard].path(Embedded.vectors.name))
        return self._files[shard]
