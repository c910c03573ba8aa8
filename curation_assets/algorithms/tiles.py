"""Tiles: rows on the device in cache-sized blocks, resident where they are few, streamed where they are many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from curation_assets.algorithms.rounded_scores import rounding_residuals
from curation_assets.algorithms.rows import Rows, chunk_bounds

# Up to this many bytes of float32 the rows are read, and moved to the device, just once per fit.
RESIDENT_BYTES = 2 * 2**30
# Below this many multiplications a pass, threads cost more than they save; on a busy machine, where they wait
# for each other at every operation, ten times more (measured).
_SINGLE_THREAD_WORK = 5 * 10**8


@contextmanager
def threads_for(work: int) -> Iterator[None]:
    """One torch thread inside the block, if a pass over the rows is only `work` multiplications."""
    before = torch.get_num_threads()
    if work >= _SINGLE_THREAD_WORK or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TiledRows:
    """Rows of a fit as float32 tensors on a device."""

    def __init__(self, rows: Rows, device: str, *, resident_bytes: int = RESIDENT_BYTES) -> None:
        self.rows = rows
        self.device = device
        self._resident: torch.Tensor | None = None
        self._norms: torch.Tensor | None = None
        self._residuals: torch.Tensor | None = None
        if rows.n_rows * rows.dimension * 4 <= resident_bytes:
            self._resident = self._load(0, rows.n_rows)

    def tiles(self, tile_size: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Every row once: the first row's number and a block of at most `tile_size` rows."""
        if self._resident is not None:
            yield from _split(self._resident, 0, tile_size)
            return
        for start, stop in chunk_bounds(self.rows):
            yield from _split(self._load(start, stop), start, tile_size)

    def norms(self) -> torch.Tensor:
        """Euclidean length of every row, float32 (n,) on the device; measured once."""
        if self._norms is None:
            parts = [torch.linalg.vector_norm(block, dim=1) for _, block in self.tiles(65_536)]
            self._norms = torch.cat(parts)
        return self._norms

    def residuals(self) -> torch.Tensor:
        """Length of what rounding to bfloat16 takes from every row, float32 (n,) on the device; measured once."""
        if self._residuals is None:
            self._residuals = torch.cat([rounding_residuals(block) for _, block in self.tiles(4096)])
        return self._residuals

    def take(self, indices: np.ndarray) -> torch.Tensor:
        """The named rows, in the order given, float32 (len(indices), d)."""
        if self._resident is not None:
            return self._resident[torch.tensor(indices, device=self.device)]
        return torch.from_numpy(self.rows.take(indices)).to(self.device)

    def _load(self, start: int, stop: int) -> torch.Tensor:
        # A memory map is read-only, which torch tensors cannot be.
        block = np.require(self.rows.read(start, stop), dtype=np.float32, requirements=["C", "W"])
        return torch.from_numpy(block).to(self.device)


def _split(block: torch.Tensor, first: int, tile_size: int) -> Iterator[tuple[int, torch.Tensor]]:
    for start in range(0, len(block), tile_size):
        yield first + start, block[start : start + tile_size]
