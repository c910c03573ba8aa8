"""Measures of subsets of a stored pool: labels of all their rows, and a yardstick on a sample of the pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from curation_assets.pools import PoolSpec
from curation_assets.steps.comparison.candidates import Candidates, draw_seeds
from curation_assets.steps.comparison.labels import LabelField, read_label_fields
from curation_assets.storage.clusters import read_preprocessing
from curation_assets.storage.embeddings import ShardedEmbeddings
from curation_assets.storage.pool_storage import PoolStorage

if TYPE_CHECKING:
    from curation_assets.algorithms.measures.yardstick import Measure, Yardstick
    from curation_assets.algorithms.preprocessing import Preprocessing

SAMPLE_ROWS = 10_000
"""Rows of the pool that measures without labels are taken on."""
MOST_MEASURED = 5_000
"""Rows of a subset that they look at; of larger subsets as many are drawn. Each subset is compared with the whole
sample: of 384 dimensions that is 40 GFLOP."""
EFFECTIVE_LABELS, LABEL_COVERAGE = "effective_labels", "label_coverage"
_YARDSTICK = 1_000
"""Tells the yardstick's seed from those of targets."""


@dataclass(frozen=True, slots=True)
class Measurer:
    """Measures subsets of one pool. Memory: a sample of the pool and the measured rows of one subset, as float32."""

    fields: Sequence[LabelField]
    yardstick: Yardstick
    embeddings: ShardedEmbeddings
    preprocessing: Preprocessing
    seed: int

    @classmethod
    def read(
        cls, spec: PoolSpec, storage: PoolStorage, candidates: Candidates, *, n_rows: int = SAMPLE_ROWS
    ) -> Measurer:
        """Read the labels and a sample of at most `n_rows` available rows, and partition the sample.

        The partition has another seed than the one that the start level is chosen by.
        """
        from curation_assets.algorithms.measures.yardstick import Yardstick

        (seed,) = draw_seeds(spec.seed, 1, _YARDSTICK)
        fields = read_label_fields(spec, storage, candidates)
        embeddings, preprocessing = storage.embeddings(), read_preprocessing(storage.clusters(1))
        rows = preprocessing.apply(embeddings.take(candidates.sample(n_rows, seed)))
        yardstick = Yardstick.fit(rows, metric=preprocessing.metric, seed=seed)
        return cls(fields, yardstick, embeddings, preprocessing, seed)

    def free(self, rows: np.ndarray, only: Sequence[Measure] | None = None) -> dict[str, float]:
        """The measures that need no labels, or some of them, by name."""
        from curation_assets.algorithms.measures.yardstick import MEASURES

        if len(rows) > MOST_MEASURED:
            rng = np.random.default_rng(self.seed)
            rows = rows[np.sort(rng.choice(len(rows), MOST_MEASURED, replace=False))]
        block = self.embeddings.take(rows)
        names = MEASURES if only is None else only
        measured = self.yardstick.measure(self.preprocessing.apply(block, out=block), names)
        return {name: value for name in names if (value := getattr(measured, name)) is not None}


def of_counts(counts: np.ndarray) -> Iterator[tuple[str, float]]:
    """Label measures of a subset by the counts of its labels, int64 (n_labels,)."""
    from curation_assets.algorithms.balance import effective_number

    yield EFFECTIVE_LABELS, effective_number(counts)
    yield LABEL_COVERAGE, float((counts > 0).sum() / max(1, len(counts)))


@dataclass(frozen=True, slots=True)
class Tally:
    """Values of the measures of one subset, draw by draw."""

    values: dict[tuple[str | None, str], list[float]] = field(default_factory=dict)
    """By label field (None for measures without labels) and measure."""

    def add(self, label_field: str | None, measure: str, value: float) -> None:
        """Take the value of one more draw."""
        self.values.setdefault((label_field, measure), []).append(value)

    def add_labels(self, label_field: LabelField, counts: np.ndarray) -> None:
        """Take the label measures of one more draw; a field without any label has none."""
        if label_field.labels:
            for name, value in of_counts(counts):
                self.add(label_field.name, name, value)

    def lines(self, **columns: Any) -> list[dict[str, Any]]:
        """A line of a table for each measure: the given columns, then field, measure, mean, spread and n_draws.

        The spread is the standard deviation of the draws, null for a single one.
        """
        return [
            {
                **columns,
                "field": label_field,
                "measure": measure,
                "mean": float(np.mean(values)),
                "spread": float(np.std(values, ddof=1)) if len(values) > 1 else None,
                "n_draws": len(values),
            }
            for (label_field, measure), values in self.values.items()
        ]
