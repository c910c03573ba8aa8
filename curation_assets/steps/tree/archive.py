"""tree: keeps each version of the tree readable, and maps the clusters of the last tree to the present ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, takewhile
from typing import Any

import polars as pl

from curation_assets.graph.refit import standing_tree
from curation_assets.pools import PoolSpec
from curation_assets.steps.context import StepContext
from curation_assets.steps.tree.levels import level_lines, measure_levels, shown_level
from curation_assets.storage.clusters import read_parents
from curation_assets.storage.intact import damaged_file
from curation_assets.storage.outputs import Facts, Output
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.presence import StoredFiles
from curation_assets.storage.tables import Tree, level_asset
from curation_assets.storage.trees import TreeArchive


def keep_tree(step: StepContext) -> None:
    """Archive the current tree, and count in which of its clusters the rows of the previous tree's clusters are now.

    Writes the table `Tree.cluster_map` of each level, empty for a first tree. Rows count if their shard's embeddings
    are the same under both trees. Also measures the levels, see `measure_levels`.
    """
    spec, storage, writer = step.spec, step.storage, step.writer
    step.report(0.1, "archiving the tree")
    standing = standing_tree(spec, storage)
    version, reason = standing.version, standing.rows.reason
    archive = TreeArchive(storage)
    levels = range(1, spec.n_levels + 1)
    previous = archive.previous(version)
    earlier = storage.tree()
    known = earlier.whole_facts()
    counted = (
        known is not None
        and known.summary["tree_version"] == version
        and known.summary["previous_version"] == (previous.version if previous else None)
    )
    fitted = _fitted_rows(storage)
    if previous and fitted and _fitted_rows(archive.storage(previous.version)) == fitted:
        reason = "other settings of the levels, on the same rows"
    kept_share: dict[str, float] = {}
    if counted and known is not None:
        kept_share = dict(known.summary["kept_share"])
        for name in known.files:
            writer.table(name, earlier.table(name))
    else:
        old = archive.storage(previous.version) if previous else None
        for level, counts in _shared_rows(spec, storage, old, step.log).items():
            largest = counts.group_by("old_cluster").agg(pl.col("n_rows").max())["n_rows"].sum()
            if len(counts):
                kept_share[f"level_{level}"] = round(float(largest) / float(counts["n_rows"].sum()), 4)
            share = pl.col("n_rows") / pl.col("n_rows").sum().over("old_cluster")
            Tree.cluster_map(level).write(writer, counts.with_columns(share_of_old=share))
    n_archived = archive.keep(
        version,
        [level_asset(level, "clusters") for level in levels],
        level_asset(1, "assign"),
        [shard.key for shard in storage.shards()],
        reason=reason,
        most=spec.refit.keep_trees,
    )
    writer.summary.update(
        tree_version=version,
        previous_version=previous.version if previous else None,
        reason=reason,
        versions=[record.version for record in archive.history()],
        n_archived=n_archived,
        kept_share=kept_share,
        levels=_measured_levels(step),
    )


def _measured_levels(step: StepContext) -> list[dict[str, Any]]:
    """Figures of the levels, which are also shown on their clusters."""
    levels = measure_levels(step.spec, step.storage)
    for line in level_lines(levels):
        step.log(line)
    for row in levels:
        step.observe(level_asset(row["level"], "clusters"), None, shown_level(row))
    return levels


def _fitted_rows(storage: PoolStorage) -> str | None:
    """Digest of the rows that level 1 was fitted on; None if that is not known, as its facts are lost."""
    facts = storage.clusters(1).facts()
    return (facts.inputs.get("admitted") or facts.inputs["embeddings"]) if facts else None


def _whole_facts(output: Output, log: Callable[[str], None]) -> Facts | None:
    """Facts of an archived output; None if there are none, or if its files are lost or damaged."""
    facts = output.facts()
    if facts is None:
        return None
    wrong = StoredFiles(output.folder).lost(output.shard, facts) or damaged_file(output, facts)
    if wrong:
        log(f"{output.folder} is left out of the comparison with the tree before: {wrong}")
    return None if wrong else facts


def _shared_rows(
    spec: PoolSpec, storage: PoolStorage, old: PoolStorage | None, log: Callable[[str], None]
) -> dict[int, pl.DataFrame]:
    """Rows by old and new cluster, for every level both trees have; shard after shard.

    What is damaged in the old tree is left out.
    """
    pairs = Tree.cluster_map(1).empty().drop("share_of_old")
    if old is None:
        return dict.fromkeys(range(1, spec.n_levels + 1), pairs)
    for shard in storage.shards():
        now, then = storage.assigned(1, shard.key), old.assigned(1, shard.key)
        facts, before = now.require_facts(), _whole_facts(then, log)
        if before is None or before.inputs["embeddings"] != facts.inputs["embeddings"]:
            continue
        part = pl.DataFrame(
            {"old_cluster": then.rows.column("cluster"), "new_cluster": now.rows.column("cluster")}
        )
        pairs = _counted(pl.concat([pairs, part.with_columns(n_rows=pl.lit(1, pl.Int64))]))
    found = {1: pairs}
    levels = takewhile(lambda level: _whole_facts(old.clusters(level), log), count(1))
    n_old = sum(1 for _ in levels)
    old_parents, new_parents = read_parents(old, n_old), read_parents(storage, spec.n_levels)
    for level, (above_old, above_new) in enumerate(zip(old_parents, new_parents, strict=False), start=2):
        below = found[level - 1]
        found[level] = _counted(
            below.with_columns(
                old_cluster=pl.Series(above_old[below["old_cluster"].to_numpy()], dtype=pl.Int64),
                new_cluster=pl.Series(above_new[below["new_cluster"].to_numpy()], dtype=pl.Int64),
            )
        )
    return found


def _counted(pairs: pl.DataFrame) -> pl.DataFrame:
    return (
        pairs.group_by("old_cluster", "new_cluster")
        .agg(pl.col("n_rows").sum())
        .sort("old_cluster", "n_rows", "new_cluster", descending=[False, True, False])
    )
