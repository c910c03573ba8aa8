"""Deduplication of a whole pool: greedy in keep order, cluster by cluster, with one result whatever their order.

A row stays unless an earlier row that stays lies at the threshold or above, in a coarse cluster that both visit. A
row that visits several clusters waits until all of them let it stay; the few rows that wait for it are judged again in
the next round. So clusters need not be in memory together, and no row is removed because of a row that is itself
removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

import numpy as np
import torch

from curation_assets.algorithms.duplicates.near_duplicates import effective_threshold, judge_cluster
from curation_assets.algorithms.kmeans.worker_pool import Spread, one_by_one
from curation_assets.algorithms.neighbours.exact import most_similar
from curation_assets.algorithms.rows import Rows, as_tensor, chunk_rows

BATCH_BYTES = 32 * 2**20
Device = Callable[[], str]
"""Gives the torch device of the process that asks: batches may be judged on other machines."""


def _cpu() -> str:
    return "cpu"


class State(IntEnum):
    """What is decided about a row."""

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
    spread: Spread = one_by_one,
    device: Device = _cpu,
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
        spread: where batches of clusters are judged. Batches judged at the same time know nothing of each other's
            decisions, which may take more rounds to the same result.
        device: where rows are compared, asked for by whoever judges a batch. A batch is moved there once.
        on_progress: called with the round, the clusters done in it and the clusters it looks at.

    Returns:
        The removals. Memory: 25 bytes for each visit of a row that is open or kept in a touched cluster, beside
        `batch_bytes` or the largest cluster's rows, twice; the device holds them twice as well.
    """
    limit = effective_threshold(threshold)
    was_open = np.flatnonzero(states == State.OPEN)
    n_visits = (clusters >= 0).sum(axis=1)
    n_comparisons = n_rounds = n_touched = 0
    most_rows = chunk_rows(rows, batch_bytes)
    while (states == State.OPEN).any():
        n_rounds += 1
        n_free = np.zeros(len(states), dtype=np.int8)
        takes_part = np.isin(states, (State.KEPT, State.OPEN))
        index = _ClusterIndex.of(clusters, takes_part, states == State.OPEN, rank, states == State.KEPT)
        n_touched = max(n_touched, index.n_clusters)
        batches = (_judged(batch, states, n_visits) for batch in index.batches(most_rows))
        done = 0
        for _, found in spread(partial(_judge, rows, limit, device), batches):
            for removed_here, free, compared in found:
                n_comparisons += compared
                states[removed_here] = State.REMOVED
                n_free[free] += 1
                states[free[(n_free[free] == n_visits[free]) & (states[free] == State.OPEN)]] = State.KEPT
            done += len(found)
            if on_progress:
                on_progress(n_rounds, done, index.n_clusters)
    removed = was_open[states[was_open] == State.REMOVED]
    twins, similarities, n_more = _name_twins(
        rows, clusters, states, removed, rank, batch_bytes, spread, device
    )
    return Removals(removed, twins, similarities, n_comparisons + n_more, n_rounds, n_touched)


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Rows of one coarse cluster as a judge gets them."""

    members: np.ndarray
    """int64 (m,)."""
    is_open: np.ndarray
    """bool (m,); those that stay come first."""
    is_final: np.ndarray
    """bool (m,): visits no other cluster."""


def _judged(batch: list[np.ndarray], states: np.ndarray, n_visits: np.ndarray) -> list[_Cluster]:
    """Clusters with the present states of their rows."""
    found = []
    for members in batch:
        # What other clusters have decided in the meantime is known already.
        present = members[states[members] != State.REMOVED]
        is_open = states[present] == State.OPEN
        order = np.argsort(is_open, kind="stable")
        present = present[order]
        found.append(_Cluster(present, is_open[order], n_visits[present] == 1))
    return found


def _judge(
    rows: Rows, threshold: float, device: Device, batch: list[_Cluster]
) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Judge the open rows of some clusters, which are read from the shards together.

    OUT: of each cluster the removed rows, the open ones that it has nothing against, and pairs compared.
    """
    read = _Read.of(rows, [cluster.members for cluster in batch], device)
    found = []
    for cluster in batch:
        inside = read.take(cluster.members)
        judged = judge_cluster(inside, cluster.is_open, cluster.is_final, threshold=threshold)
        free = cluster.members[judged.free & cluster.is_open]
        found.append((cluster.members[judged.removed], free, judged.n_comparisons))
    return found


def _name_twins(
    rows: Rows,
    clusters: np.ndarray,
    states: np.ndarray,
    removed: np.ndarray,
    rank: np.ndarray,
    batch_bytes: int,
    spread: Spread,
    device: Device,
) -> tuple[np.ndarray, np.ndarray, int]:
    twins = np.full(len(removed), -1, dtype=np.int64)
    similarities = np.full(len(removed), -np.inf)
    seeks = np.zeros(len(states), dtype=bool)
    seeks[removed] = True
    is_kept = states == State.KEPT
    n_comparisons = 0
    index = _ClusterIndex.of(clusters, is_kept | seeks, seeks, rank, is_kept)
    most_rows = chunk_rows(rows, batch_bytes)
    batches = ([_sides(members, is_kept) for members in batch] for batch in index.batches(most_rows))
    for _, found in spread(partial(_nearest_kept, rows, device), batches):
        for seeking, named, cosines, compared in found:
            n_comparisons += compared
            at = np.searchsorted(removed, seeking)
            better = (cosines > similarities[at]) | ((cosines == similarities[at]) & (named < twins[at]))
            twins[at[better]], similarities[at[better]] = named[better], cosines[better]
    return twins, np.minimum(similarities, 1.0), n_comparisons


def _sides(members: np.ndarray, is_kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Removed rows of a cluster, and kept ones: of equal cosines the first in number is named."""
    kept = is_kept[members]
    return members[~kept], np.sort(members[kept])


def _nearest_kept(
    rows: Rows, device: Device, batch: list[tuple[np.ndarray, np.ndarray]]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """The nearest kept row of every removed one, in clusters that are read from the shards together.

    OUT: of each cluster the removed rows, the kept rows named, their cosines, and pairs compared.
    """
    sides = [(seeking, kept) for seeking, kept in batch if len(kept)]
    if not sides:
        return []
    read = _Read.of(rows, [members for side in sides for members in side], device)
    found = []
    for seeking, kept in sides:
        nearest, cosines = (
            part[:, 0].cpu().numpy() for part in most_similar(read.take(seeking), read.take(kept), 1)
        )
        found.append((seeking, kept[nearest], cosines, len(kept) * len(seeking)))
    return found


@dataclass(frozen=True, slots=True)
class _Read:
    """Rows of a batch on the device of their judge."""

    numbers: np.ndarray
    """int64 (r,), ascending."""
    block: torch.Tensor
    """float32 (r, d)."""

    @classmethod
    def of(cls, rows: Rows, parts: list[np.ndarray], device: Device) -> _Read:
        """The rows of all parts, which are read and moved together."""
        numbers = np.unique(np.concatenate(parts))
        return cls(numbers, as_tensor(rows.take(numbers), device()))

    def take(self, members: np.ndarray) -> torch.Tensor:
        """Some of them, float32 (m, d), in the order given."""
        places = torch.from_numpy(np.searchsorted(self.numbers, members))
        return self.block[places.to(self.block.device)]


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

    def batches(self, most_rows: int) -> Iterator[list[np.ndarray]]:
        """Members of clusters, several together up to `most_rows` rows; at least one cluster."""
        cluster = 0
        while cluster < self.n_clusters:
            begin = self.starts[cluster]
            last = int(np.searchsorted(self.starts, begin + most_rows, side="right")) - 1
            last = max(last, cluster + 1)
            yield [
                self.members[self.starts[number] : self.starts[number + 1]] for number in range(cluster, last)
            ]
            cluster = last
