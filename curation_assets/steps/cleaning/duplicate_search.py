"""The semantic pass of deduplication over stored shards: coarse clusters, visits, removals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from curation_assets.algorithms.duplicates.coarse_clusters import (
    SAMPLE_PER_CLUSTER,
    VISITED_CLUSTERS,
    Visits,
    fit_coarse_clusters,
    n_coarse_clusters,
    visit_clusters,
)
from curation_assets.algorithms.duplicates.deduplication import Removals, State, remove_near_duplicates
from curation_assets.algorithms.preprocessing import (
    GRID_BITS,
    PreparedRows,
    Preprocessing,
    fit_preprocessing,
)
from curation_assets.algorithms.randomness import Purpose, generator, keyed_priorities
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.engines import Engine
from curation_assets.pools import PoolSpec
from curation_assets.pools.device import resolve_device
from curation_assets.steps.cleaning.duplicate_rows import DuplicateRows, keep_order
from curation_assets.steps.cleaning.standing_duplicates import Standing
from curation_assets.storage.clusters import read_preprocessing
from curation_assets.storage.embeddings import ShardedEmbeddings

_GROWTH_BEFORE_REFIT = 4
_READ_BYTES = 16 * 2**20
_LEAST_SAMPLED_CLUSTERS = 32
"""The least rows for the mean of centring, even if there are few clusters."""


@dataclass(frozen=True, slots=True)
class Coarse:
    """Coarse clusters, and how rows are prepared for them."""

    preprocessing: Preprocessing
    centroids: np.ndarray
    """float32 (k, d)."""
    n_rows: int
    """Rows there were at the fit."""


class CoarseSearch:
    """Near duplicates among the rows of a pool, and the state that the next run starts from.

    Args:
        standing: earlier decisions that still hold.
        threshold: cosine of near duplicates.
        report: called with the share done and what is being done.
        engine: where rows are located and clusters judged.
    """

    def __init__(
        self,
        spec: PoolSpec,
        rows: DuplicateRows,
        standing: Standing,
        threshold: float,
        report: Callable[[float, str], None],
        engine: Engine,
    ) -> None:
        self._spec, self._rows, self._standing = spec, rows, standing
        self._threshold, self._report, self._engine = threshold, report, engine
        self._embeddings = ShardedEmbeddings(rows.embedded)
        self.visits = standing.visits
        """int32 (n, v) of `Visits`: kept rows' clusters, -1 for the others."""
        self.coarse: Coarse | None = None
        """None before any row was compared."""
        stored = standing.output
        if stored and standing.visits is not None:
            n_rows = int(stored.require_facts().summary["n_rows_of_fit"])
            self.coarse = Coarse(read_preprocessing(stored), np.array(stored.centroids.read()), n_rows)

    def remove(self, is_open: np.ndarray) -> Removals:
        """Judge the open rows, bool (n,), against the rows kept earlier and each other. Blank images take no part."""
        is_open = is_open & ~self._rows.blank
        n_rows = self._rows.n_rows
        states = np.full(n_rows, State.OUT, dtype=np.int8)
        states[self._standing.kept] = State.KEPT
        states[is_open] = State.OPEN
        states[self._rows.blank] = State.OUT
        part = np.flatnonzero(states != State.OUT)
        empty = np.empty(0, dtype=np.int64)
        if not is_open.any():
            return Removals(empty, empty, np.empty(0), 0, 0, 0)
        located = np.flatnonzero(is_open)
        coarse, visits = self.coarse, self.visits
        if coarse is None or visits is None or len(part) > _GROWTH_BEFORE_REFIT * coarse.n_rows:
            coarse = self._fit(part, coarse.preprocessing if coarse else None)
            # The clusters are new, so rows kept earlier are located in them too.
            visits, located = np.full((n_rows, VISITED_CLUSTERS), -1, dtype=np.int32), part
        similarities = self._locate(coarse, visits, located)
        rank = np.zeros(n_rows, dtype=np.int64)
        rank[located] = keep_order(self._spec, self._rows, located, is_open[located], similarities)
        removals = remove_near_duplicates(
            PreparedRows(self._embeddings, coarse.preprocessing),
            visits,
            states,
            rank,
            threshold=self._threshold,
            spread=self._engine.map,
            device=partial(resolve_device, self._spec.fit_device, "fit_device"),
            on_progress=self._on_cluster,
        )
        visits[states != State.KEPT] = -1
        self.coarse, self.visits = coarse, visits
        return removals

    def _on_cluster(self, n_round: int, done: int, n_clusters: int) -> None:
        share = done / n_clusters if n_round == 1 else 1.0
        self._report(0.4 + 0.5 * share, f"round {n_round}: {done:,} of {n_clusters:,} coarse clusters")

    def _fit(self, part: np.ndarray, preprocessing: Preprocessing | None) -> Coarse:
        """Coarse clusters of a sample that is chosen by hashes of ids; the order of shards does not matter."""
        asked = self._spec.deduplication.n_clusters if self._spec.deduplication else "auto"
        n_clusters = n_coarse_clusters(len(part)) if asked == "auto" else min(asked, len(part))
        self._report(0.05, f"fitting {n_clusters:,} coarse clusters")
        priorities = keyed_priorities(self._rows.id_hashes[part], self._spec.seed, Purpose.DEDUPLICATION)
        order = np.lexsort((part, priorities))[
            : SAMPLE_PER_CLUSTER * max(n_clusters, _LEAST_SAMPLED_CLUSTERS)
        ]
        sample = self._embeddings.take(part[order])
        if preprocessing is None:
            preprocessing = self._fit_preprocessing(sample)
        rng = generator(self._spec.seed, Purpose.DEDUPLICATION)
        device = resolve_device(self._spec.fit_device, "fit_device")
        preprocessing.apply(sample, out=sample)
        centroids = fit_coarse_clusters(sample, n_clusters, rng=rng, device=device)
        return Coarse(preprocessing, centroids, len(part))

    def _fit_preprocessing(self, sample: np.ndarray) -> Preprocessing:
        settings = self._spec.preprocessing
        if settings.metric == "l2":
            # Similarity depends on direction only, whichever metric the tree is fitted with.
            return Preprocessing("cosine", None, 2.0**-GRID_BITS)
        return fit_preprocessing(ArrayRows(sample), metric="cosine", centring=settings.centring)

    def _locate(self, coarse: Coarse, visits: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Fill in the visits of rows (ascending); returns their similarity to the own centroid, float64."""
        similarities = np.empty(len(rows))
        step = max(1, _READ_BYTES // (4 * max(1, self._embeddings.dimension)))
        pieces = [slice(start, start + step) for start in range(0, len(rows), step)]
        locate = _Locate(
            self._embeddings,
            coarse.preprocessing,
            coarse.centroids,
            self._threshold,
            self._spec.fit_device,
        )
        found = self._engine.map(locate, (rows[piece] for piece in pieces))
        for done, (number, visited) in enumerate(found, start=1):
            visits[rows[pieces[number]]] = visited.clusters
            similarities[pieces[number]] = visited.similarities
            n_done = min(done * step, len(rows))
            share = 0.1 + 0.3 * n_done / len(rows)
            self._report(share, f"{n_done:,} of {len(rows):,} rows to their coarse clusters")
        return similarities


@dataclass(frozen=True, slots=True)
class _Locate:
    """Finds the coarse clusters of some rows, by centroids float32 (k, d)."""

    embeddings: ShardedEmbeddings
    preprocessing: Preprocessing
    centroids: np.ndarray
    threshold: float
    fit_device: str
    """As the pool sets it: the machine that works on the rows says which one that is there."""

    def __call__(self, rows: np.ndarray) -> Visits:
        """Visits of rows, ascending."""
        block = self.preprocessing.apply(self.embeddings.take(rows))
        device = resolve_device(self.fit_device, "fit_device")
        return visit_clusters(block, self.centroids, threshold=self.threshold, device=device)
