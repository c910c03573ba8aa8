"""Greedy seeds of many fits at once, on the device: the same random numbers draw the same rows as in one fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from curation_assets.algorithms.kmeans.seeding import SAME_POINT, with_copies
from curation_assets.algorithms.kmeans.seeding_loops import SAME_TOTAL
from curation_assets.algorithms.search.cuda import greedy_launches
from curation_assets.algorithms.search.cuda.greedy_launches import GreedyState
from curation_assets.algorithms.search.cuda.grouped_launches import row_tiles
from curation_assets.algorithms.search.cuda.grouped_search import GroupedRows


def greedy_seeds(
    rows: GroupedRows,
    lengths: torch.Tensor,
    n_clusters: np.ndarray,
    trials: np.ndarray,
    rngs: Sequence[np.random.Generator],
) -> list[np.ndarray]:
    """Seeds of fits that try several candidates for each.

    Args:
        rows: of all fits.
        lengths: float64 (n,): their squared lengths.
        n_clusters: int64 (g,): seeds of each fit, at most its rows.
        trials: int64 (g,): candidates of each of its seeds; 0 leaves a fit out.
        rngs: of the fits; left where a fit by itself leaves them.

    Returns:
        Of each fit int64 (k,), counted from its first row; empty for those left out. Memory on the device beside it: 8
        bytes for each row and candidate, and 16 a row.
    """
    chosen = np.flatnonzero(trials)
    found = [np.empty(0, dtype=np.int64) for _ in rngs]
    if not len(chosen):
        return found
    sizes, wanted = np.diff(rows.bounds), np.where(trials > 0, n_clusters, 0)
    first = np.zeros(len(rngs), dtype=np.int64)
    before, n_candidates = {}, 1 << (int(trials.max()) - 1).bit_length()
    shares = np.zeros((len(rngs), max(1, int(wanted.max()) - 1), n_candidates))
    for fit in chosen.tolist():
        first[fit] = rngs[fit].integers(sizes[fit])
        # All random numbers that the fit may need; see below for those that it does not.
        before[fit] = rngs[fit].bit_generator.state
        n_rounds = int(wanted[fit]) - 1
        shares[fit, :n_rounds, : trials[fit]] = rngs[fit].random((n_rounds, trials[fit]))
    places = np.concatenate([[0], np.cumsum(wanted)])
    seeds = _on_device(rows, lengths, (first, shares, wanted, trials, places))
    for fit in chosen.tolist():
        mine = seeds[places[fit] : places[fit + 1]]
        mine = mine[mine >= 0]
        if len(mine) < wanted[fit]:
            # The search ended early, as all rows are copies of seeds: go on from the last numbers that it used.
            rngs[fit].bit_generator.state = before[fit]
            rngs[fit].random((len(mine) - 1, trials[fit]))
        found[fit] = with_copies(mine, int(wanted[fit]), int(sizes[fit]), rngs[fit])
    return found


def _on_device(rows: GroupedRows, lengths: torch.Tensor, drawn: tuple[np.ndarray, ...]) -> np.ndarray:
    """All rounds; waits for the device at the end.

    Args:
        rows: of all fits.
        lengths: float64 (n,).
        drawn: first seeds int64 (g,), random numbers float64 (g, rounds, c), seeds int64 (g,) and candidates of each
            int64 (g,), and places int64 (g + 1,) of the fits' seeds.

    Returns:
        int64 (k,): rows, counted from the fit's first; -1 where a search ended early.
    """
    device = rows.block.device
    first, shares, wanted, trials, places = (torch.from_numpy(array).to(device) for array in drawn)
    n_candidates = drawn[1].shape[2]
    wanted, trials = wanted.int(), trials.int()
    one = torch.ones_like(trials)
    state = GreedyState.begin(len(rows.block), wanted, one, int(drawn[4][-1]), n_candidates)
    state.drawn[:, 0] = first
    tiles = row_tiles(rows.bounds, greedy_launches.TILE_ROWS, device)
    longest, same = int(np.diff(rows.bounds).max()), (SAME_POINT, SAME_TOTAL)
    # Triton launches on the current device.
    with torch.cuda.device_of(rows.block):
        greedy_launches.keep_best(state, rows.block, lengths, rows.groups, tiles, places, 0, same)
        state = replace(state, trials=trials)
        for n_seeds in range(1, int(drawn[2].max())):
            greedy_launches.draw(state, rows.groups, shares, n_seeds, longest)
            greedy_launches.keep_best(state, rows.block, lengths, rows.groups, tiles, places, n_seeds, same)
    seeds: np.ndarray = state.seeds.cpu().numpy()
    return seeds
