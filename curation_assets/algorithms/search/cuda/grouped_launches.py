"""Launches of the kernels of many small searches on torch tensors.

Callers make the device of the tensors the current one: Triton launches there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from curation_assets.algorithms.search.cuda.compact import PIECE
from curation_assets.algorithms.search.cuda.rounding import HalfRows

TILE_ROWS = 64
"""Rows of one program of `near_kernel`: what a group of four warps multiplies at a time."""
_MOST_COLUMNS, _FEWEST_COLUMNS = 128, 32
_STAGES, _WARPS = 3, 4
# Rows of one program of `decide_kernel`, eight threads each.
_DECIDED_ROWS = 4


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of rows on a device, and the programs that their rows are shared out among."""

    row_bounds: torch.Tensor
    """int64 (g + 1,): group i has the rows from row_bounds[i] up to row_bounds[i + 1]."""
    of_row: torch.Tensor
    """int32 (n,)."""
    tile_groups: torch.Tensor
    """int32 (t,): group of each program."""
    tile_rows: torch.Tensor
    """int64 (t,): first row of each program, which has `TILE_ROWS` of them or what is left of its group."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the centroids of each group lie, on a device."""

    bounds: torch.Tensor
    """int64 (g + 1,): group i has the centroids from bounds[i] up to bounds[i + 1]; at least one, if it is searched."""
    of_centroid: torch.Tensor
    """int64 (k,): group of each."""
    most: int
    """The most centroids of a group."""


@dataclass(frozen=True, slots=True)
class GroupedCentroids:
    """Centroids of all groups on a device, and what makes their scores exact enough."""

    centroids: torch.Tensor
    """float32 (k, d)."""
    half: HalfRows
    """The same in float16."""
    bias: torch.Tensor
    """float32 (k,): -|c|^2 / 2."""
    places: Places
    errors: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    """float32 (g,) each: see `ScoreError`."""


def row_tiles(bounds: np.ndarray, n_rows: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Programs of up to `n_rows` rows of one group each: groups int32 (t,) and first rows int64 (t,).

    `bounds`, int64 (g + 1,), are those of the groups.
    """
    n_tiles = -(-np.diff(bounds) // n_rows)
    # Tile j of all is tile j - (tiles of earlier groups) of its group.
    group = np.repeat(np.arange(len(n_tiles)), n_tiles)
    inside = np.arange(len(group)) - np.repeat(np.cumsum(n_tiles) - n_tiles, n_tiles)
    first = bounds[group] + inside * n_rows
    return torch.from_numpy(group.astype(np.int32)).to(device), torch.from_numpy(first).to(device)


def columns_for(most: int) -> int:
    """Centroids that are scored at a time, where no group has more than `most`."""
    return max(_FEWEST_COLUMNS, min(_MOST_COLUMNS, 1 << (most - 1).bit_length()))


def word_bytes(most: int) -> int:
    """Bytes for the bits of a row, where no group has more than `most` centroids."""
    columns = columns_for(most)
    return -(-most // columns) * columns // 8


def near(
    norms: torch.Tensor, half: HalfRows, groups: Groups, among: GroupedCentroids, runs: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which centroids may be the nearest of each row, see `grouped_kernels.near_kernel`.

    Args:
        norms: float32 (n,): lengths of the rows.
        half: the rows.
        groups: of the rows.
        among: the centroids.
        runs: int32 (g,): 0 leaves a group out, whose rows get no answer.

    Returns:
        Columns int64 (n,), counts int32 (n,) and words int32 (n, w).
    """
    from curation_assets.algorithms.search.cuda.grouped_kernels import near_kernel

    n_rows, width = half.values.shape
    columns_at_once = columns_for(among.places.most)
    columns = torch.empty(n_rows, dtype=torch.int64, device=norms.device)
    counts = torch.empty(n_rows, dtype=torch.int32, device=norms.device)
    words = counts.new_empty(n_rows, word_bytes(among.places.most) // 4)
    if len(groups.tile_rows):
        near_kernel[(len(groups.tile_rows),)](
            half.values, half.scales, norms, half.residuals, among.half.values, among.half.scales, among.bias,
            groups.tile_groups, groups.tile_rows, groups.row_bounds, among.places.bounds, runs, *among.errors,
            columns, counts, words, width // PIECE, words.shape[1],
            IS_ONE_TILE=among.places.most <= columns_at_once, ROWS=TILE_ROWS, COLUMNS=columns_at_once, PIECE=PIECE,
            STAGES=_STAGES, num_warps=_WARPS,
        )  # fmt: skip
    return columns, counts, words


def decide(
    block: torch.Tensor,
    groups: Groups,
    among: GroupedCentroids,
    runs: torch.Tensor,
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    """The nearest centroid where several may be, see `grouped_kernels.decide_kernel`.

    Args:
        block: float32 or float16 (n, d): the rows.
        groups: of the rows.
        among: the centroids.
        runs: see `near`.
        found: output of `near`; the columns change.
    """
    from curation_assets.algorithms.search.cuda.grouped_kernels import decide_kernel

    columns, counts, words = found
    if len(block):
        decide_kernel[(-(-len(block) // _DECIDED_ROWS),)](
            block, among.centroids, groups.of_row, among.places.bounds, runs, counts, words, columns,
            len(block), block.shape[1], words.shape[1], ROWS=_DECIDED_ROWS, num_warps=1, enable_fp_fusion=False,
        )  # fmt: skip
