"""Labels of a pool's rows as codes, field by field, and the labels of random subsets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from curation_assets.pools import PoolSpec
from curation_assets.steps.comparison.candidates import Candidates
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import LABEL_PREFIX

_HYPERGEOMETRIC_LIMIT = 10**9


@dataclass(frozen=True, slots=True)
class LabelField:
    """One label field of a pool; only labels of available rows count."""

    name: str
    labels: list[str]
    """In alphabetical order."""
    codes: np.ndarray
    """int (n,) of the smallest type: position in `labels` of each row's label, -1 for none."""
    in_pool: np.ndarray
    """int64 (n_labels,): available rows with each label."""
    n_rows: int
    """Available rows, those without a label too."""

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Rows with each label, int64 (n_labels,)."""
        from curation_assets.algorithms.measures.labels import label_counts

        return label_counts(self.codes[rows], len(self.labels))

    def random_counts(self, size: int, n_draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Label counts of uniform subsets of `size` rows, int64 (n_labels,) each, without drawing the rows.

        The counts of a subset without replacement follow the multivariate hypergeometric distribution. From a billion
        rows on they are drawn with replacement, which overstates their spread by a few per cent.
        """
        groups = np.append(self.in_pool, self.n_rows - self.in_pool.sum())
        for _ in range(n_draws):
            if self.n_rows < _HYPERGEOMETRIC_LIMIT:
                drawn = rng.multivariate_hypergeometric(groups, size, method="marginals")
            else:
                drawn = rng.multinomial(size, groups / self.n_rows)
            yield drawn[:-1]


def read_label_fields(spec: PoolSpec, storage: PoolStorage, candidates: Candidates) -> list[LabelField]:
    """Every label field of the pool's source. Memory: 1 to 4 bytes a row for each, and one shard's labels."""
    return [read_label_field(storage, candidates, name) for name in spec.source.label_fields]


def read_label_field(storage: PoolStorage, candidates: Candidates, name: str) -> LabelField:
    """One label field of the pool's source."""
    index, available = candidates.index, candidates.available
    known: dict[str, int] = {}
    codes = np.empty(len(available), dtype=np.int32)
    for shard, start, stop in zip(index.shards, index.starts[:-1], index.starts[1:], strict=True):
        rows = storage.embedded(shard).rows.column("raw_row")
        values = storage.raw_pool(shard).samples.column(LABEL_PREFIX + name).gather(rows)
        present = values.filter(pl.Series(available[start:stop])).drop_nulls().unique().to_list()
        for value in present:
            known.setdefault(value, len(known))
        mine = values.replace_strict(known, default=-1, return_dtype=pl.Int32) if known else None
        codes[start:stop] = -1 if mine is None else mine.fill_null(-1).to_numpy()
    codes[~available] = -1
    labels = sorted(known)
    place = np.full(len(known) + 1, -1, dtype=np.min_scalar_type(-max(1, len(known))))
    for position, label in enumerate(labels):
        place[known[label]] = position
    codes = place[codes]
    in_pool = np.bincount(codes[codes >= 0], minlength=len(labels))
    return LabelField(name, labels, codes, in_pool, int(np.count_nonzero(available)))
