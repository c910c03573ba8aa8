"""Shards and labels that lose a large share of their samples as duplicates: wrong pictures look alike, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from curation_assets.pools import PoolSpec
from curation_assets.storage.fates import KIND_WORDS, SEMANTIC
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import LABEL_PREFIX, Embedded

FEWEST_REMOVED = 5
"""Samples that must be removed of a shard or a label before its share says anything."""
LEAST_SHARE_OF_POOL = 0.01
"""Of a label's samples: in small ones variants of one thing lie together, as the methods of a class do."""
_EXAMPLES = 3
_LINES = 5


@dataclass(frozen=True, slots=True)
class LargeRemoval:
    """A shard or a label of which a large share was removed."""

    what: str
    n_removed: int
    n_samples: int
    examples: tuple[str, ...]

    @property
    def share(self) -> float:
        """Removed share of the samples that were compared."""
        return self.n_removed / max(1, self.n_samples)

    @property
    def words(self) -> str:
        """What was removed, with examples."""
        return (
            f"{self.n_removed:,} of {self.n_samples:,} samples of {self.what} ({self.share:.0%}), "
            f"e.g. {'; '.join(self.examples)}"
        )


def large_removals(spec: PoolSpec, storage: PoolStorage) -> list[LargeRemoval]:
    """Shards and labels that lost more than `deduplication.max_removed_share` as duplicates, the largest share first.

    Groups with fewer than 5 removed samples do not count, nor do labels of less than 1 % of the pool. Labels are read
    only if so many samples were removed at all.
    """
    if spec.deduplication is None or storage.duplicates().facts() is None:
        return []
    evidence = storage.duplicates().evidence.read()
    if len(evidence) < FEWEST_REMOVED:
        return []
    embedded = storage.shard_facts(Embedded.asset)
    keys = [shard.key for shard in storage.shards() if shard.key in embedded]
    evidence = evidence.filter(pl.col("shard").is_in(keys))
    found = [*_by_shard(spec, storage, evidence), *_by_label(spec, storage, keys, evidence)]
    limit = spec.deduplication.max_removed_share
    return sorted(
        (group for group in found if group.share > limit), key=lambda group: (-group.share, group.what)
    )


def removal_lines(
    spec: PoolSpec, storage: PoolStorage, found: Sequence[LargeRemoval] | None = None
) -> Iterator[str]:
    """The large removals as sentences, with the remedy; `found` are those of `large_removals`, if they are known."""
    found = large_removals(spec, storage) if found is None else found
    if found and spec.deduplication:
        limit = spec.deduplication.max_removed_share
        for group in found[:_LINES]:
            yield f"duplicates: removed {group.words}"
        more = (
            f"; {len(found) - _LINES} more in the check removals_are_few of duplicates"
            if found[_LINES:]
            else ""
        )
        yield (
            f"more than deduplication.max_removed_share = {limit:.0%} was removed there: look at the pairs in the "
            f"report; if they are no copies, raise deduplication.threshold or set semantic: false{more}"
        )


def _by_shard(spec: PoolSpec, storage: PoolStorage, evidence: pl.DataFrame) -> Iterator[LargeRemoval]:
    for (shard,), mine in evidence.partition_by("shard", as_dict=True).items():
        if len(mine) >= FEWEST_REMOVED:
            n_samples = len(_compared(spec, storage, str(shard)))
            yield LargeRemoval(f"shard '{shard}'", len(mine), n_samples, _examples(mine))


def _by_label(
    spec: PoolSpec, storage: PoolStorage, keys: Sequence[str], evidence: pl.DataFrame
) -> Iterator[LargeRemoval]:
    columns = [f"{LABEL_PREFIX}{name}" for name in spec.source.label_fields]
    if not columns:
        return
    parts = [
        mine.hstack(storage.raw_pool(str(shard)).samples.read(*columns)[mine["raw_row"].to_numpy()])
        for (shard,), mine in evidence.partition_by("shard", as_dict=True, maintain_order=True).items()
    ]
    removed = pl.concat(parts) if parts else evidence
    counts = {
        column: dict(
            removed.drop_nulls(column)
            .group_by(column)
            .len()
            .filter(pl.col("len") >= FEWEST_REMOVED)
            .iter_rows()
        )
        for column in columns
        if parts
    }
    if not any(counts.values()):
        return
    n_pool = 0
    # Only labels that lost enough are counted in the pool: there may be as many labels as samples.
    totals: dict[str, Counter[str]] = {column: Counter() for column in columns}
    for key in keys:
        labels = storage.raw_pool(key).samples.read(*columns)[_compared(spec, storage, key)]
        n_pool += len(labels)
        for column in columns:
            lost = labels[column].filter(labels[column].is_in(list(counts[column])))
            totals[column].update(lost.to_list())
    for column in columns:
        for label, n_removed in counts[column].items():
            if totals[column][label] < LEAST_SHARE_OF_POOL * n_pool:
                continue
            what = f"label {column.removeprefix(LABEL_PREFIX)} = '{label}'"
            mine = removed.filter(pl.col(column) == label)
            yield LargeRemoval(what, n_removed, totals[column][label], _examples(mine))


def _compared(spec: PoolSpec, storage: PoolStorage, shard: str) -> np.ndarray:
    """Rows of the raw pool that deduplication compared, int64."""
    raw_rows = storage.embedded(shard).rows.column("raw_row").to_numpy()
    if spec.decontamination:
        raw_rows = np.delete(raw_rows, storage.contaminated(shard).evidence.column("row").to_numpy())
    return raw_rows.astype(np.int64)


def _examples(removed: pl.DataFrame) -> tuple[str, ...]:
    """The least similar pairs, since they are the likeliest to be no copies."""
    shown = removed.sort("similarity", "shard", "row").head(_EXAMPLES)
    return tuple(
        f"{sample} as a copy of {twin} ({KIND_WORDS[kind] if kind != SEMANTIC else f'cosine {similarity:.3f}'})"
        for sample, twin, kind, similarity in shown.select(
            "sample_id", "twin_id", "kind", "similarity"
        ).iter_rows()
    )
