"""Deduplication of a whole pool: greedy in keep order, cluster by cluster, with one result whatever their order.

A row stays unless an earlier row that stays lies at the threshold or above, in a coarse cluster that both visit. A
row that visits several clusters waits until none of them holds anything against it; the few rows behind such a
one are judged again in the next round. So clusters need not be in memory together, and still nothing is
removed for the sake of a row that is itself removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from curation_assets.algorithms.near_duplicates import (
    effective_threshold,
    judge_cluster,
    nearest_kept,
)
from curation_assets.algorithms.rows import Rows

BATCH_BYTES = 32 * 2**20


class State(IntEnum):
    """What is known of a row."""

    OUT = 0
    """Takes no part."""
    KEPT = 1
    OPEN = 2
    REMOVED = 3


@dataclass(frozen=True, slots=True)
class Removals:
    """Rows that were removed, with what they are near duplicates of."""

    rows: np.ndarray
    """int64 (r,), ascending."""
    twins: np.ndarray
    """int64 (r,): the kept row with the highest cosine, of equal ones the first in number."""
    similarities: np.ndarray
    """float64 (r,): the exact cosines, at most 1."""
    n_comparisons: int
    n_rounds: int
    n_clusters_touched: int


def remove_near_duplicates(
    rows: Rows,
    clusters: np.ndarray,
    states: np.ndarray,
    rank: np.ndarray,
    *,
    threshold: float,
    batch_bytes: int = BATCH_BYTES,
    on_progress: Callable[[int, int, int], None] | None = None,
) -> Removals:
    """Judge every open row; kept ones stand, and only clusters with open rows are read.

    Args:
        rows: prepared (see `algorithms.preprocessing`, metric cosine).
        clusters: int32 (n, v): those a row visits (see `coarse_clusters.Visits`), -1 for none.
        states: int8 (n,) of `State`; open rows become kept or removed in place.
        rank: int64 (n,): keep order of the open rows, all different.
        threshold: cosine from which on two rows count as the same.
        batch_bytes: rows read together; one cluster at least.
        on_progress: called with the round, the clusters done in it and the clusters it looks at.

    Returns:
        The removals. Memory: 25 bytes for each visit of a row that is open or kept in a touched cluster, beside
        `batch_bytes` or the largest cluster's rows, twice.
    """
    limit = effective_threshold(threshold)
    was_open = np.flatnonzero(states == State.OPEN)
    n_visits = (clusters >= 0).sum(axis=1)
    n_comparisons = n_rounds = n_touched = 0
    while (states == State.OPEN).any():
        n_rounds += 1
        n_free = np.zeros(len(states), dtype=np.int8)
        takes_part = np.isin(states, (State.KEPT, State.OPEN))
        index = _ClusterIndex.of(clusters, takes_part, states == State.OPEN, rank, states == State.KEPT)
        n_touched = max(n_touched, index.n_clusters)
        for done, (members, block) in enumerate(index.read(rows, batch_bytes), start=1):
            # What other clusters have decided in the meantime is known already.
            present = states[members] != State.REMOVED
            members, block = members[present], block[present]
            is_open = states[members] == State.OPEN
            order = np.argsort(is_open, kind="stable")
            members, block, is_open = members[order], block[order], is_open[order]
            found = judge_cluster(block, is_open, n_visits[members] == 1, threshold=limit)
            n_comparisons += found.n_comparisons
            states[members[found.removed]] = State.REMOVED
            free = members[found.free & is_open]
            n_free[free] += 1
            states[free[n_free[free] == n_visits[free]]] = State.KEPT
            if on_progress:
                on_progress(n_rounds, done, index.n_clusters)
    removed = was_open[states[was_open] == State.REMOVED]
    twins, similarities, n_more = _name_twins(rows, clusters, states, removed, rank, batch_bytes)
    return Removals(removed, twins, similarities, n_comparisons + n_more, n_rounds, n_touched)


def _name_twins(
    rows: Rows,
    clusters: np.ndarray,
    states: np.ndarray,
    removed: np.ndarray,
    rank: np.ndarray,
    batch_bytes: int,
) -> tuple[np.ndarray, np.ndarray, int]:
    twins = np.full(len(removed), -1, dtype=np.int64)
    similarities = np.full(len(removed), -np.inf)
    seeks = np.zeros(len(states), dtype=bool)
    seeks[removed] = True
    is_kept = states == State.KEPT
    n_comparisons = 0
    index = _ClusterIndex.of(clusters, is_kept | seeks, seeks, rank, is_kept)
    for members, block in index.read(rows, batch_bytes):
        kept = is_kept[members]
        if not kept.any():
            continue
        # Of equal cosines the first row in number is named, whatever cluster it is met in.
        order = np.argsort(members[kept])
        names = members[kept][order]
        nearest, cosines = nearest_kept(block[~kept], block[kept][order])
        n_comparisons += len(names) * len(nearest)
        at = np.searchsorted(removed, members[~kept])
        named = names[nearest]
        better = (cosines > similarities[at]) | ((cosines == similarities[at]) & (named < twins[at]))
        twins[at[better]], similarities[at[better]] = named[better], cosines[better]
    return twins, np.minimum(similarities, 1.0), n_comparisons


@dataclass(frozen=True, slots=True)
class _ClusterIndex:
    """Rows by cluster: kept ones first, then by rank."""

    members: np.ndarray
    """int64 (m,)."""
    starts: np.ndarray
    """int64 (c + 1,): where each cluster's members begin."""

    @classmethod
    def of(
        cls, clusters: np.ndarray, part: np.ndarray, wanted: np.ndarray, rank: np.ndarray, first: np.ndarray
    ) -> _ClusterIndex:
        """The clusters that a wanted row visits, with all their rows that take part."""
        touched = np.zeros(int(clusters.max(initial=-1)) + 2, dtype=bool)
        touched[clusters[wanted].ravel()] = True
        touched[-1] = False  # where -1 points
        rows = np.flatnonzero(part)
        visited = clusters[rows]
        at, visit = np.nonzero(touched[visited])
        members, cluster = rows[at], visited[at, visit]
        order = np.lexsort((rank[members], ~first[members], cluster))
        members, cluster = members[order], cluster[order]
        starts = np.flatnonzero(np.diff(cluster, prepend=-1))
        return cls(members, np.append(starts, len(members)))

    @property
    def n_clusters(self) -> int:
        return len(self.starts) - 1

    def read(self, rows: Rows, batch_bytes: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Members and their rows float32, cluster by cluster; several are read from the shards together."""
        most = max(1, batch_bytes // (4 * max(1, rows.dimension)))
        cluster = 0
        while cluster < self.n_clusters:
            begin = self.starts[cluster]
            last = int(np.searchsorted(self.starts, begin + most, side="right")) - 1
            last = max(last, cluster + 1)
            needed = np.unique(self.members[begin : self.starts[last]])
            block = rows.take(needed)
            for number in range(cluster, last):
                members = self.members[self.starts[number] : self.starts[number + 1]]
                yield members, block[np.searchsorted(needed, members)]
            cluster = last
