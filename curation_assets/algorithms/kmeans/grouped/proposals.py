"""Seeds that are proposed in batches, of many fits at once.

Every round searches the rows of all fits for the nearest of their new seeds on the device, in a few launches and with
two waits: for the squared distances, and for the rows that are proposed. Draws and thinning stay on the CPU, one fit on
each thread: a fit proposes a few hundred rows, and whether one is kept depends on those kept before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from curation_assets.algorithms.kmeans.row_worker import BLOCK_ROWS, block_sums
from curation_assets.algorithms.kmeans.seed_distances import draw_from_blocks, positions_in_blocks
from curation_assets.algorithms.kmeans.seeding import proposals_of_round, with_copies
from curation_assets.algorithms.kmeans.thinning import accepted
from curation_assets.algorithms.search.cuda.grouped_search import GroupedRows
from curation_assets.algorithms.threads import on_threads, parts_on_threads


def proposed_seeds(
    rows: GroupedRows, n_clusters: np.ndarray, takes_part: np.ndarray, rngs: Sequence[np.random.Generator]
) -> list[np.ndarray]:
    """Seeds of fits that propose many at once.

    Args:
        rows: of all fits.
        n_clusters: int64 (g,): seeds of each fit, at most its rows.
        takes_part: bool (g,).
        rngs: of the fits; left where a fit by itself leaves them.

    Returns:
        Of each fit int64 (k,), counted from its first row; empty for those left out.
    """
    bounds, nothing = rows.bounds, np.empty(0, dtype=np.int64)
    searches = {
        fit: _Search(int(bounds[fit + 1] - bounds[fit]), int(n_clusters[fit]), rngs[fit])
        for fit in np.flatnonzero(takes_part).tolist()
    }
    squared = torch.full((int(bounds[-1]),), torch.inf, dtype=torch.float64, device=rows.block.device)
    new = {fit: search.chosen for fit, search in searches.items()}
    while new:
        squared = _with_seeds(rows, squared, [new.get(fit, nothing) for fit in range(len(rngs))])
        on_host = squared.cpu().numpy()
        running = list(new)
        proposed = [searches[fit].propose(on_host[bounds[fit] : bounds[fit + 1]]) for fit in running]
        numbers = [bounds[fit] + mine for fit, mine in zip(running, proposed, strict=True)]
        points = _taken(rows, np.concatenate(numbers)).cpu().split([len(mine) for mine in proposed])
        with parts_on_threads():
            kept = on_threads(_Search.keep, zip((searches[fit] for fit in running), points, strict=True))
        new = {fit: mine for fit, mine in zip(running, kept, strict=True) if not searches[fit].is_done}
    return [searches[fit].chosen if fit in searches else nothing for fit in range(len(rngs))]


def _with_seeds(rows: GroupedRows, squared: torch.Tensor, new: list[np.ndarray]) -> torch.Tensor:
    """Squared distances to the nearest seed, with new ones.

    Args:
        rows: of all fits.
        squared: float64 (n,): the distances before.
        new: of each fit int64 (m,), counted from its first row; some fits have none.

    Returns:
        float64 (n,); of no use for rows of fits without a new seed.
    """
    widths = np.array([len(mine) for mine in new])
    places = rows.places(np.concatenate([[0], np.cumsum(widths)]))
    numbers = np.concatenate([first + mine for first, mine in zip(rows.bounds[:-1], new, strict=True)])
    among = rows.among(_taken(rows, numbers), places, rows.largest_norm)
    # Rows of other fits get no answer, and no one asks for theirs.
    named = rows.nearest(among, rows.runs(widths > 0)).clamp(0, len(numbers) - 1)
    return torch.minimum(squared, rows.squared_distances(among, named))


def _taken(rows: GroupedRows, numbers: np.ndarray) -> torch.Tensor:
    return rows.block.index_select(0, torch.from_numpy(numbers).to(rows.block.device))


class _Search:
    """The seeds of one fit so far, as `seeding` chooses them.

    Args:
        n_rows: rows of the fit.
        n_clusters: seeds to choose.
        rng: of the fit.
    """

    def __init__(self, n_rows: int, n_clusters: int, rng: np.random.Generator) -> None:
        self._n_rows, self._n_clusters, self._rng = n_rows, n_clusters, rng
        self._starts = np.arange(0, n_rows, BLOCK_ROWS)
        self.chosen = np.array([rng.integers(n_rows)], dtype=np.int64)
        """int64 (c,): rows."""
        self._proposed = np.empty(0, dtype=np.int64)
        self._stale = np.empty(0)

    @property
    def is_done(self) -> bool:
        """Whether no seed is missing."""
        return len(self.chosen) == self._n_clusters

    def propose(self, squared: np.ndarray) -> np.ndarray:
        """Propose seeds: rows int64 (m,), none where all are chosen or copies of seeds.

        Args:
            squared: float64 (n,): squared distances of the rows to their nearest seed.
        """
        room, masses = self._n_clusters - len(self.chosen), block_sums(squared, self._starts)
        self._proposed = np.empty(0, dtype=np.int64)
        if room and masses.any():
            shares = self._rng.random(proposals_of_round(len(self.chosen), room))
            edges = np.append(self._starts, self._n_rows)
            self._proposed = draw_from_blocks(squared, edges, *positions_in_blocks(masses, shares))
        self._stale = squared[self._proposed]
        return self._proposed

    def keep(self, points: torch.Tensor) -> np.ndarray:
        """Choose among the proposals, float32 (m, d): new seeds, int64 (c,). Without any, copies fill the rest up."""
        if len(points):
            room = self._n_clusters - len(self.chosen)
            new = self._proposed[accepted(points, self._stale, self._rng, room)]
            self.chosen = np.concatenate([self.chosen, new])
            return new
        before = len(self.chosen)
        self.chosen = with_copies(self.chosen, self._n_clusters, self._n_rows, self._rng)
        return self.chosen[before:]
