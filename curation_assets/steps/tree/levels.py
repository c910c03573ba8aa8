"""The levels of the current tree over the rows of the pool: sizes, and whether one has collapsed or is dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from curation_assets.graph.levels import dropped_line
from curation_assets.pools import PoolSpec
from curation_assets.storage.clusters import read_parents
from curation_assets.storage.pool_storage import PoolStorage

_SHOWN_AS = {
    "level": "level",
    "n_clusters": "n_clusters",
    "effective_number": "effective_clusters_of_samples",
    "largest_share": "largest_share_of_samples",
    "collapsed": "collapsed",
    "dropped": "dropped",
}
"""Stored figure -> its name where it is shown; docs/figures.md says what each means."""


def measure_levels(spec: PoolSpec, storage: PoolStorage) -> list[dict[str, Any]]:
    """For each level its clusters, their balance over the admissible rows, and whether it has collapsed or is dropped.

    Reads the clusters of level 1 shard by shard. Sizes are counted here, not in the fits: a fit knows its inputs, which
    are a sample of the pool at level 1 and centroids above.
    """
    from curation_assets.algorithms.balance import balance_of, has_collapsed

    facts = [storage.clusters(level).require_facts().summary for level in range(1, spec.n_levels + 1)]
    parents = read_parents(storage, spec.n_levels)
    n_clusters = [len(storage.clusters(level).centroids.read()) for level in range(1, spec.n_levels + 1)]
    sizes = np.zeros(n_clusters[0], dtype=np.int64)
    for shard in storage.shards():
        clusters = storage.assigned(1, shard.key).rows.column("cluster").to_numpy()
        if spec.is_cleaned:
            clusters = clusters[storage.admitted(shard.key).kept.read()]
        sizes += np.bincount(clusters, minlength=len(sizes))
    found = []
    for level, summary in enumerate(facts, start=1):
        if level > 1:
            sizes = np.bincount(parents[level - 2], weights=sizes, minlength=n_clusters[level - 1]).astype(
                np.int64
            )
        balance, dropped = balance_of(sizes), bool(summary.get("dropped"))
        found.append(
            {
                "level": level,
                "n_clusters": n_clusters[level - 1],
                "effective_number": round(balance.effective_number, 2),
                "largest_share": round(balance.largest_share, 4),
                "collapsed": not dropped and has_collapsed(sizes, spec.max_share),
                "dropped": dropped,
                **({"why_dropped": summary["why_dropped"]} if dropped else {}),
            }
        )
    return found


def shown_level(row: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one level, by the names that people see; `row` is one of `measure_levels`."""
    return {shown: row[name] for name, shown in _SHOWN_AS.items()}


def level_lines(levels: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for every collapsed level and one for those dropped, with what to change.

    Args:
        levels: figures, as `measure_levels` gives them.
    """
    for row in levels:
        if row["collapsed"]:
            yield f"level {row['level']} has collapsed: {collapse_of(row['n_clusters'], row['largest_share'])}"
    if dropped := [row for row in levels if row["dropped"]]:
        yield dropped_line(dropped[0]["level"], dropped[-1]["level"], dropped[0]["why_dropped"])


def collapse_of(n_clusters: int, largest_share: float) -> str:
    """What is wrong with a collapsed level, and what to change."""
    return (
        f"the largest of its {n_clusters:,} clusters holds {largest_share:.0%} of the pool. Do not balance from it "
        f"(balance_from: auto, or a lower level); to mend it, give it more clusters, leave it out, resample less "
        f"(resampling_steps), or try centring or another encoder"
    )
