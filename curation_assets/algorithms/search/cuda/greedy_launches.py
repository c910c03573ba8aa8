"""Launches of the kernels of greedy seeds on torch tensors, and the state of many fits between them.

Callers make the device of the tensors the current one: Triton launches there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from curation_assets.algorithms.search.cuda.grouped_launches import Groups

TILE_ROWS = 16
"""Rows of one program of `candidate_distances_kernel`."""
# Candidates times dimensions that it takes at a time.
_VALUES = 256
# Fits of one program of `keep_kernel`: a chain of additions for each of them.
_FITS = 1


@dataclass(frozen=True, slots=True)
class GreedyState:
    """Where the choice of seeds of many fits stands, on the device."""

    wanted: torch.Tensor
    """int32 (g,): seeds of each fit."""
    trials: torch.Tensor
    """int32 (g,): candidates of each seed."""
    squared: torch.Tensor
    """float64 (n,): squared distances to the nearest seed."""
    cumulative: torch.Tensor
    """float64 (n,): their cumulative sums within each fit."""
    last_mass: torch.Tensor
    """int64 (g,): the last row of each fit that is no copy of a seed, counted from its first."""
    is_open: torch.Tensor
    """int32 (g,): 0 where all rows are copies of seeds."""
    seeds: torch.Tensor
    """int64 (k,): rows, counted from the fit's first; -1 where none was chosen."""
    drawn: torch.Tensor
    """int64 (g, c): candidates, counted from the fit's first row."""
    distances: torch.Tensor
    """float64 (n, c)."""

    @classmethod
    def begin(
        cls, n_rows: int, wanted: torch.Tensor, trials: torch.Tensor, n_seeds: int, n_candidates: int
    ) -> GreedyState:
        """No seeds yet.

        Args:
            n_rows: of all fits.
            wanted: int32 (g,): seeds of each fit.
            trials: int32 (g,): candidates of each seed.
            n_seeds: of all fits.
            n_candidates: a power of two, at least all of `trials`.
        """
        squared = torch.full((n_rows,), torch.inf, dtype=torch.float64, device=wanted.device)
        return cls(
            wanted, trials, squared, torch.empty_like(squared), torch.zeros_like(wanted, dtype=torch.int64),
            torch.ones_like(wanted), torch.full((n_seeds,), -1, dtype=torch.int64, device=wanted.device),
            torch.zeros(len(wanted), n_candidates, dtype=torch.int64, device=wanted.device),
            squared.new_empty(n_rows, n_candidates),
        )  # fmt: skip


def draw(state: GreedyState, groups: Groups, shares: torch.Tensor, seed_round: int, longest: int) -> None:
    """Draw the candidates of a round, see `greedy_kernels.draw_kernel`.

    Args:
        state: of the fits; `drawn` changes.
        groups: rows of the fits.
        shares: float64 (g, rounds, c): random numbers.
        seed_round: seeds so far, at least 1.
        longest: the most rows of a fit.
    """
    from curation_assets.algorithms.search.cuda.greedy_kernels import draw_kernel

    n_fits, n_candidates = state.drawn.shape
    draw_kernel[(n_fits,)](
        state.cumulative, state.last_mass, groups.row_bounds, shares, state.trials, state.wanted, state.is_open,
        state.drawn, seed_round, longest.bit_length(), shares.shape[1], CANDIDATES=n_candidates, num_warps=1,
    )  # fmt: skip


def keep_best(
    state: GreedyState,
    block: torch.Tensor,
    lengths: torch.Tensor,
    groups: Groups,
    tiles: tuple[torch.Tensor, torch.Tensor],
    centroid_bounds: torch.Tensor,
    seed_round: int,
    same: tuple[float, float],
) -> None:
    """Keep the best of the candidates of a round, see `greedy_kernels.keep_kernel`.

    Args:
        state: of the fits; all but the candidates changes.
        block: float32 or float16 (n, d): the rows.
        lengths: float64 (n,): their squared lengths.
        groups: rows of the fits.
        tiles: of `TILE_ROWS` rows, see `row_tiles`.
        centroid_bounds: int64 (g + 1,): places of a fit's seeds.
        seed_round: seeds so far.
        same: shares within which distances count as 0, and totals as equal.
    """
    from curation_assets.algorithms.search.cuda.greedy_kernels import candidate_distances_kernel, keep_kernel

    n_fits, n_candidates = state.drawn.shape
    same_point, same_total = same
    candidate_distances_kernel[(len(tiles[0]),)](
        block, lengths, *tiles, groups.row_bounds, state.drawn, state.trials, state.wanted, state.is_open,
        state.distances, seed_round, block.shape[1], SAME_POINT=same_point, CANDIDATES=n_candidates, ROWS=TILE_ROWS,
        PIECE=max(1, _VALUES // n_candidates), num_warps=4,
    )  # fmt: skip
    keep_kernel[(-(-n_fits // _FITS),)](
        state.distances, state.drawn, groups.row_bounds, centroid_bounds, state.trials, state.wanted, state.squared,
        state.cumulative, state.last_mass, state.is_open, state.seeds, seed_round, n_fits, SAME_TOTAL=same_total,
        CANDIDATES=n_candidates, FITS=_FITS, num_warps=1, enable_fp_fusion=False,
    )  # fmt: skip
