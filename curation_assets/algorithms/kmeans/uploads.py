"""Rows as they are stored, on their way to a card: read ahead, and copied while the tile before is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from curation_assets.algorithms.rows import Stored, read_ahead
from curation_assets.algorithms.search.cuda.compact import CompactBlock, Preparation, padded

TILE_BYTES = 2**28
"""Of a tile of rows on the device, as float16."""
# Pieces that are copied at a time: one is read while the other is on its way.
_STAGES = 2


@dataclass(frozen=True, slots=True)
class _Tile:
    start: int
    block: CompactBlock
    slot: int
    is_there: Any


class Uploads:
    """Copies stored rows to a device, tile by tile.

    A thread reads pieces into page-locked memory, from which a stream of its own copies them, so the host waits for no
    tile. There are two tiles on the device: one is worked on while the other is filled.

    Args:
        stored: the rows.
        device: torch device.
        piece_rows: rows that are read at a time. Memory of the host: two pieces as float16, and one as it is read.
    """

    def __init__(self, stored: Stored, device: torch.device, piece_rows: int) -> None:
        self._stored, self._device = stored, device
        self._piece_rows = max(1, min(piece_rows, stored.rows.n_rows))
        self._dimension = stored.rows.dimension
        self._width = padded(self._dimension)
        mean = None if stored.mean is None else torch.from_numpy(np.array(stored.mean)).to(device)
        self._preparation = Preparation(self._dimension, mean, stored.grid_step)
        self._is_card = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._is_card else None
        self._lengths: torch.Tensor | None = None
        self._has_lengths = False

    def all(self) -> CompactBlock:
        """All rows, to be kept on the device."""
        n_rows = self._stored.rows.n_rows
        tiles = list(self._tiles(max(1, n_rows), 1))
        return tiles[0][1] if tiles else CompactBlock(self._empty(0), self._lengths, self._preparation)

    def tiles(self, most_rows: int) -> Iterator[tuple[int, CompactBlock]]:
        """Every row once: the first row's number, and a block of at most `most_rows` rows and `TILE_BYTES`.

        A block holds until the one after the next is asked for.
        """
        yield from self._tiles(max(1, min(most_rows, TILE_BYTES // (2 * self._width))), 2)

    def _tiles(self, tile_rows: int, n_slots: int) -> Iterator[tuple[int, CompactBlock]]:
        n_rows = self._stored.rows.n_rows
        tile_rows = min(tile_rows, max(1, n_rows))
        if self._lengths is None and self._stored.lengths is not None:
            self._lengths = torch.empty(n_rows, dtype=torch.float64, device=self._device)
        slots = [self._empty(tile_rows) for _ in range(min(n_slots, -(-n_rows // tile_rows)))]
        if self._stream is not None:
            for slot in slots:
                # Not given away before what is on its way has come, even if nobody asks for the rest.
                slot.record_stream(self._stream)
        # Of each slot: when the work on what it held is done.
        free: list[Any] = [self._event() for _ in slots]
        staging = _Staging(self._piece_rows, self._width, self._dimension, is_pinned=self._is_card)
        starts = [(number % n_slots, start) for number, start in enumerate(range(0, n_rows, tile_rows))]

        def fill(place: tuple[int, int]) -> _Tile:
            slot, start = place
            stop = min(start + tile_rows, n_rows)
            self._copy(staging, slots[slot], start, stop, free[slot])
            lengths = None if self._lengths is None else self._lengths[start:stop]
            block = CompactBlock(slots[slot][: stop - start], lengths, self._preparation)
            return _Tile(start, block, slot, self._event(self._stream))

        for tile in read_ahead(starts, fill):
            if self._is_card:
                torch.cuda.current_stream(self._device).wait_event(tile.is_there)
            yield tile.start, tile.block
            free[tile.slot] = self._event()
        self._has_lengths = True

    def _copy(self, staging: _Staging, slot: torch.Tensor, start: int, stop: int, free: Any) -> None:
        """Fill a slot with rows start to stop, once the work on what it holds is done."""
        if self._stream is not None:
            self._stream.wait_event(free)
        for first in range(start, stop, self._piece_rows):
            last = min(first + self._piece_rows, stop)
            piece, number = staging.next()
            values = self._stored.rows.read_half(first, last)
            piece[: last - first, : self._dimension] = values
            lengths = None
            if self._lengths is not None and not self._has_lengths and self._stored.lengths is not None:
                lengths = torch.from_numpy(self._stored.lengths(values))
            with torch.cuda.stream(self._stream):
                target = slot[first - start : last - start]
                target.copy_(torch.from_numpy(piece[: last - first]), non_blocking=True)
                if lengths is not None and self._lengths is not None:
                    self._lengths[first:last] = lengths.to(self._device)
            staging.copied[number] = self._event(self._stream)

    def _empty(self, n_rows: int) -> torch.Tensor:
        return torch.zeros(n_rows, self._width, dtype=torch.float16, device=self._device)

    def _event(self, stream: Any = None) -> Any:
        """An event after what a stream, by default the present one, has been given so far; None without streams."""
        if not self._is_card:
            return None
        return (stream or torch.cuda.current_stream(self._device)).record_event()


class _Staging:
    """Memory of the host that pieces are copied from, in turn."""

    def __init__(self, n_rows: int, width: int, dimension: int, *, is_pinned: bool) -> None:
        self._pieces = [
            torch.zeros(n_rows, width, dtype=torch.float16, pin_memory=is_pinned).numpy()
            for _ in range(_STAGES)
        ]
        self.copied: list[Any] = [None] * _STAGES
        """Of each piece: when it has been copied."""
        self._next = 0

    def next(self) -> tuple[np.ndarray, int]:
        """A piece that has been copied, and its number; waits for it, in the thread that reads."""
        number, self._next = self._next, (self._next + 1) % _STAGES
        if self.copied[number] is not None:
            self.copied[number].synchronize()
        return self._pieces[number], number
