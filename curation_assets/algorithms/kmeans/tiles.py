"""Tiles: rows on the device in cache-sized blocks, resident where they are few, streamed where they are many."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch

from curation_assets.algorithms.kmeans.uploads import Uploads
from curation_assets.algorithms.rows import (
    ArrayRows,
    HasStored,
    Rows,
    SomeRows,
    Stored,
    as_tensor,
    chunk_rows,
    read_chunks,
)
from curation_assets.algorithms.search.base import NearestCentroids, RowView, SearchedRows, Viewer
from curation_assets.algorithms.search.choose import (
    Choice,
    RowBasis,
    holds_stored,
    nearest_centroids,
    row_basis,
    view_bytes,
)
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cuda.compact import (
    Block,
    CompactBlock,
    compact_row_bytes,
    is_its_own_view,
)
from curation_assets.algorithms.search.cuda.memory import DeviceMemory
from curation_assets.algorithms.search.pairs import lengths, tile_rows
from curation_assets.algorithms.threads import VALUE_WORK, even_size, in_parts, on_threads

Done = TypeVar("Done")
_LOG = logging.getLogger(__name__)
# Up to this many bytes of float32 the rows are read, and moved to the device, just once per fit.
RESIDENT_BYTES = 2 * 2**30
# Of rows that are gathered at a time.
_GATHERED_BYTES = 2**29


@dataclass(frozen=True, slots=True)
class FitMemory:
    """Memory that rows of a fit may take; results do not depend on it."""

    resident_bytes: int = RESIDENT_BYTES
    """Rows that take no more are read once and kept in the memory of the process; 0 reads all rows in every pass."""
    chunk_bytes: int | None = None
    """Of a chunk that is read at once, as float32; None leaves it to `read_chunks`."""
    device: DeviceMemory = field(default_factory=DeviceMemory)
    """What rows may take on a card, instead of `resident_bytes`."""

    def room(self, device: str) -> int:
        """Bytes for rows that are kept on a device."""
        on_card = self.device.room(device)
        return self.resident_bytes if on_card is None else on_card


class TiledRows:
    """Rows of a fit on a device: as float32 tensors, or as they are stored where the device prepares them.

    Args:
        rows: prepared inputs.
        device: torch device.
        resident_bytes: rows that take no more, with what is kept of them, are read once and kept on the device; 0 reads
            them in every pass, ahead of the computation. Results are the same.
        chunk_bytes: of a chunk that is read at once, see `read_chunks`.
        within: rows that these are some of, whose views they share, and their numbers among them.
        choice: of the searches among centroids, see `nearest_centroids`.
    """

    def __init__(
        self,
        rows: Rows,
        device: str,
        *,
        resident_bytes: int = RESIDENT_BYTES,
        chunk_bytes: int | None = None,
        within: tuple[TiledRows, np.ndarray] | None = None,
        choice: Choice | None = None,
    ) -> None:
        self.rows = rows
        self.device = device
        self._resident_bytes = resident_bytes
        self._chunk_bytes = chunk_bytes
        self._norms: torch.Tensor | None = None
        self._within, self._choice = within, choice
        self._basis: RowBasis | None = None
        self.view: RowView | None = None
        """The view of all rows, if it has been made."""
        self.stored = self._as_stored() if holds_stored(device, choice) else None
        """What the rows are made from, if they are held so."""
        self._uploads: Uploads | None = None
        if self.stored is None:
            self._row_bytes = 4 * rows.dimension + view_bytes(rows.dimension, device, choice)
        else:
            self._row_bytes = compact_row_bytes(rows.dimension, is_centred=self.stored.mean is not None)
            self._uploads = Uploads(self.stored, torch.device(device), chunk_rows(rows, chunk_bytes))
        self.is_resident = rows.n_rows * self._row_bytes <= resident_bytes
        """Whether all rows are kept."""
        self.resident = self._held() if self.is_resident else None
        """All rows, if they are kept."""

    def tiles(self, tile_size: int) -> Iterator[tuple[int, Block]]:
        """Every row once: the first row's number and a block of at most `tile_size` rows."""
        if self.resident is not None:
            yield from _split(self.resident, 0, tile_size)
            return
        if self._uploads is not None:
            yield from self._uploads.tiles(tile_size)
            return
        # The same tiles as of resident rows: what is summed up tile by tile is then the same to the last bit.
        for start, block in read_chunks(self.rows, self._chunk_bytes, multiple_of=tile_size):
            yield from _split(as_tensor(block, self.device), start, tile_size)

    def each_tile(self, function: Callable[[int, Block], Done], most_rows: int) -> list[Done]:
        """Call a function for every row once, tile by tile: on the CPU for several tiles at a time.

        Args:
            function: of the first row's number and a block; may run on several threads.
            most_rows: of a tile.

        Returns:
            What the calls gave, in the order of the rows.
        """
        n_rows = self.rows.n_rows
        if self.resident is not None or self._uploads is not None:
            size = even_size(n_rows, most_rows, device=self.device)
        else:
            # Tiles that are worked on at the same time lie in two chunks at most, however small those are.
            n_rows = min(n_rows, chunk_rows(self.rows, self._chunk_bytes))
            size = even_size(n_rows, most_rows, fewest=1, device=self.device)
        return on_threads(function, self.tiles(size), self.device)

    def norms(self) -> torch.Tensor:
        """Euclidean length of every row, float32 (n,) on the device; measured once."""
        if self._norms is None:
            parts = self.each_tile(lambda _, block: lengths(block), tile_rows(torch.device(self.device)))
            self._norms = torch.cat(parts) if parts else torch.empty(0, device=self.device)
        return self._norms

    def search_among(self, book: Codebook, like: NearestCentroids | None = None) -> NearestCentroids:
        """A search for these rows. A view that is kept is made here, before several threads ask for parts of it.

        Args:
            book: the centroids.
            like: see `nearest_centroids`.
        """
        search = nearest_centroids(book, self.rows.n_rows, basis=self.basis, like=like, choice=self._choice)
        if search.viewer is not None and search.viewer.is_kept and self.resident is not None:
            self._resident_view(search.viewer, self.resident)
        return search

    def basis(self) -> RowBasis:
        """The basis of these rows, see `row_basis`; found once, and that of the whole for some of its rows."""
        if self._within is not None:
            return self._within[0].basis()
        if self._basis is None:
            self._basis = row_basis(self.rows.n_rows, self.take, self.rows.dimension, self._choice)
        return self._basis

    def searched(
        self, search: NearestCentroids, rows: slice | torch.Tensor, block: Block, norms: torch.Tensor
    ) -> SearchedRows:
        """Some rows as a search wants them.

        Args:
            search: from `search_among`.
            rows: their numbers.
            block: the rows, b of them.
            norms: float32 (b,): their lengths.
        """
        if self.resident is None or search.viewer is None or not search.viewer.is_kept:
            return SearchedRows(block, norms)
        return SearchedRows(block, norms, self._resident_view(search.viewer, self.resident)[rows])

    def gathered(self, block: Block, rows: torch.Tensor) -> Iterator[tuple[torch.Tensor, Block]]:
        """Some rows of a block, copied a bounded number of bytes at a time: their numbers in it, and themselves.

        Args:
            block: of these rows.
            rows: int64 (m,).
        """
        step = max(1, _GATHERED_BYTES // self._row_bytes)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            yield part, block.index_select(0, part)

    def _resident_view(self, viewer: Viewer, resident: Block) -> RowView:
        if self.view is None:
            shares = self._within is not None and not is_its_own_view(resident)
            if shares and self._within is not None and self._within[0].view is not None:
                self.view = self._within[0].view[torch.from_numpy(self._within[1])]
            else:
                self.view = viewer.view(resident, self.norms())
        return self.view

    def take(self, indices: np.ndarray) -> torch.Tensor:
        """The named rows, in the order given, float32 (len(indices), d)."""
        resident = self.resident
        if resident is not None:
            numbers = torch.tensor(indices, device=self.device)
            if isinstance(resident, CompactBlock):
                return resident.prepared(numbers)
            taken = resident.new_empty(len(numbers), resident.shape[1])

            def take(start: int, stop: int) -> None:
                torch.index_select(resident, 0, numbers[start:stop], out=taken[start:stop])

            in_parts(take, len(numbers), VALUE_WORK * resident.shape[1], self.device)
            return taken
        return torch.from_numpy(self.rows.take(indices)).to(self.device)

    def subset(self, indices: np.ndarray) -> TiledRows:
        """Some of the rows, as rows of a fit of their own: resident if there is room beside these.

        Args:
            indices: int64 (m,); ascending ones are read in one go.
        """
        resident = 0 if self.resident is None else self.rows.n_rows * self._row_bytes
        return TiledRows(
            _Subset(self, indices),
            self.device,
            resident_bytes=max(0, self._resident_bytes - resident),
            chunk_bytes=self._chunk_bytes,
            within=(self, indices),
            choice=self._choice,
        )

    def _as_stored(self) -> Stored | None:
        if self._within is None:
            return self.rows.stored() if isinstance(self.rows, HasStored) else None
        whole, numbers = self._within
        return whole.stored and replace(whole.stored, rows=SomeRows(whole.stored.rows, numbers))

    def _held(self) -> Block | None:
        """All rows on the device; None, with a warning, if it turns out that there is no room for them."""
        try:
            return self._read_all()
        except torch.cuda.OutOfMemoryError:
            # Another process has taken what was free.
            torch.cuda.empty_cache()
            _LOG.warning("%s: no room for all rows: they are copied there in every pass", self.device)
            self.is_resident = False
            return None

    def _read_all(self) -> Block:
        whole, numbers = self._within or (None, np.empty(0, np.int64))
        if whole is not None and isinstance(whole.resident, CompactBlock):
            return whole.resident.index_select(0, torch.tensor(numbers, device=self.device))
        if self._uploads is not None:
            return self._uploads.all()
        if isinstance(self.rows, ArrayRows):
            # In memory already: no second copy of what is float32.
            return as_tensor(self.rows.read(0, self.rows.n_rows), self.device)
        if whole is not None and whole.is_resident:
            return whole.take(numbers)
        every = torch.empty(self.rows.n_rows, self.rows.dimension, dtype=torch.float32, device=self.device)
        for start, block in read_chunks(self.rows, self._chunk_bytes):
            every[start : start + len(block)] = as_tensor(block, self.device)
        return every


class _Subset:
    """Rows of a `TiledRows`, see `Rows`: gathered from what is resident, else read again."""

    def __init__(self, whole: TiledRows, indices: np.ndarray) -> None:
        self._whole, self._indices = whole, indices
        self.n_rows, self.dimension = len(indices), whole.rows.dimension

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.take(np.arange(start, stop))

    def take(self, indices: np.ndarray) -> np.ndarray:
        return self._whole.take(self._indices[indices]).cpu().numpy()


def _split(block: Block, first: int, tile_size: int) -> Iterator[tuple[int, Block]]:
    for start in range(0, len(block), tile_size):
        yield first + start, block[start : start + tile_size]
