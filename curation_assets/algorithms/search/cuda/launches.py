"""Launches of the search kernels on torch tensors: tiles that fit the card, grids and outputs."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from curation_assets.algorithms.search.cuda.compact import PIECE
from curation_assets.algorithms.search.cuda.rounding import HalfCentroids, HalfRows

# Of one program of `reach_kernel`.
_REACH_PAIRS = 64


@dataclass(frozen=True, slots=True)
class Tile:
    """What one program of `best_two_kernel` works on at a time."""

    rows: int
    columns: int
    warps: int
    stages: int

    def shared_bytes(self) -> int:
        """Shared memory of the pieces that are loaded ahead, float16, and of barriers."""
        return self.stages * (self.rows + self.columns) * PIECE * 2 + 2048


# The fastest of 110 variants on an H200: the first for much work, the second for fewer centroids or dimensions, the
# third where taller tiles would leave processors without rows. The last one fits any card.
_WIDE, _SQUARE, _FLAT = Tile(128, 256, 8, 3), Tile(128, 128, 4, 3), Tile(64, 128, 4, 3)
TILES = (_WIDE, _SQUARE, _FLAT, Tile(64, 128, 4, 2))
# Limits between them: programs a processor, rows, dimensions, and values of all centroids.
_FULL, _WIDE_ROWS, _WIDE_DIMENSION, _WIDE_VALUES = 1.75, 100_000, 512, 4096 * 384


def tile_for(n_rows: int, n_centroids: int, dimension: int, device: torch.device) -> Tile:
    """The fastest tile for a search on a device."""
    shared, processors = _limits(device)
    if n_rows < _FULL * _SQUARE.rows * processors or n_centroids <= _SQUARE.columns // 2:
        wanted = _FLAT
    elif n_rows < _WIDE_ROWS or n_centroids <= _SQUARE.columns:
        wanted = _SQUARE
    elif dimension >= _WIDE_DIMENSION or n_centroids * dimension >= _WIDE_VALUES:
        wanted = _WIDE
    else:
        wanted = _SQUARE
    # The first one that fits, from there on.
    return next((tile for tile in TILES[TILES.index(wanted) :] if tile.shared_bytes() <= shared), TILES[-1])


@functools.cache
def _limits(device: torch.device) -> tuple[int, int]:
    """Bytes of shared memory that a program may have, and processors."""
    if device.type != "cuda":
        return 2**20, 1
    from triton.runtime import driver

    index = torch.cuda.current_device() if device.index is None else device.index
    shared = driver.active.utils.get_device_properties(index)["max_shared_mem"]
    return shared, torch.cuda.get_device_properties(index).multi_processor_count


def best_two(
    rows: HalfRows, centroids: HalfCentroids, left_out: torch.Tensor | None, tile: Tile
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Best score of each row, its column and the second-best score, see `kernels.best_two_kernel`.

    Args:
        rows: n of them.
        centroids: of the scores.
        left_out: int32 (n,): a column that does not count, or -1; None counts all.
        tile: see `tile_for`.

    Returns:
        float32 (n,), int32 (n,), float32 (n,), and float32 (t, n): the best score in each of t tiles of columns.
    """
    from triton.tools.tensor_descriptor import TensorDescriptor

    from curation_assets.algorithms.search.cuda.kernels import best_two_kernel

    n_rows, width = rows.values.shape
    n_tiles = -(-centroids.n_centroids // tile.columns)
    best, second = torch.empty_like(rows.scales), torch.empty_like(rows.scales)
    column = torch.empty_like(best, dtype=torch.int32)
    maxima = best.new_empty(n_tiles, n_rows)
    if n_rows:
        best_two_kernel[(-(-n_rows // tile.rows),)](
            TensorDescriptor.from_tensor(rows.values, [tile.rows, PIECE]),
            rows.scales,
            TensorDescriptor.from_tensor(centroids.values, [tile.columns, PIECE]),
            centroids.bias,
            rows.scales if left_out is None else left_out,
            best,
            column,
            second,
            maxima,
            n_rows,
            n_tiles,
            width // PIECE,
            centroids.scale,
            HAS_LEFT_OUT=left_out is not None,
            ROWS=tile.rows,
            COLUMNS=tile.columns,
            PIECE=PIECE,
            STAGES=tile.stages,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
    return best, column, second, maxima


def reach(
    rows: HalfRows,
    centroids: HalfCentroids,
    left_out: torch.Tensor | None,
    thresholds: torch.Tensor,
    pairs: tuple[torch.Tensor, torch.Tensor],
    columns: int,
) -> torch.Tensor:
    """Which columns of a tile score at least a row's threshold, see `kernels.reach_kernel`.

    Args:
        rows: n of them.
        centroids: of the scores.
        left_out: see `best_two`.
        thresholds: float32 (n,).
        pairs: tiles int64 (p,), ascending, and rows int64 (p,).
        columns: of a tile.

    Returns:
        int32 (p, columns / 32): column c of a tile is bit c % 32 of word c // 32.
    """
    from triton.tools.tensor_descriptor import TensorDescriptor

    from curation_assets.algorithms.search.cuda.kernels import reach_kernel

    tiles, numbers = pairs
    words = torch.empty(len(numbers), columns // 32, dtype=torch.int32, device=numbers.device)
    if len(numbers):
        reach_kernel[(-(-len(numbers) // _REACH_PAIRS),)](
            rows.values,
            rows.scales,
            TensorDescriptor.from_tensor(centroids.values, [columns, PIECE]),
            centroids.bias,
            rows.scales if left_out is None else left_out,
            thresholds,
            numbers,
            tiles,
            words,
            len(numbers),
            rows.values.shape[1] // PIECE,
            centroids.scale,
            HAS_LEFT_OUT=left_out is not None,
            PAIRS=_REACH_PAIRS,
            COLUMNS=columns,
            PIECE=PIECE,
            STAGES=2,
            num_warps=4,
            num_stages=2,
        )
    return words
