"""What the UI shows of each stored output besides its summary: pictures, tables and links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from curation_assets.defs.metadata import (
    comparison_picture,
    fit_metadata,
    frontier_metadata,
    picture,
    probe_metadata,
    size_metadata,
    table,
)
from curation_assets.defs.run.step_run import Shown
from curation_assets.formats.accounts import left_out_table
from curation_assets.project import report_url
from curation_assets.steps.cleaning.duplicate_groups import largest_groups
from curation_assets.steps.comparison.verdict import verdict_lines
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.dataset.atlas import atlas_command
from curation_assets.steps.report.comparison import read_comparisons, read_frontier, read_probes
from curation_assets.steps.tree.drift import DRIFT_FIGURES
from curation_assets.steps.tree.levels import shown_level
from curation_assets.storage.outputs import Output
from curation_assets.storage.tables import Atlas, CurationReport, Tree

_ROWS_SHOWN = 20
_FIGURES = {
    "comparison.png": "every measure of random, flat k-means, start levels and the chosen subset",
    "frontier.png": "every measure by the size of the subset",
    "cluster_sizes.png": "cluster sizes by level",
    "label_balance.png": "labels in the pool and in the balanced subset",
    "random_sample.png": "a random subset",
    "balanced_sample.png": "the balanced subset",
}


def _rejected_samples(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    stored = pool.storage.evaluation_sets().rejected
    rejected = stored.read("set", "sample_id", "file", "reason", "detail")
    return table("rejected_samples", rejected.head(_ROWS_SHOWN).to_dicts())


def _left_out(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    """Members of a shard's files that are neither samples nor rejections."""
    lines = left_out_table(output.require_facts().summary.get("left_out", {}), "member")
    return table("left_out", [{"n": line.n, "what": line.what, "kinds": line.kinds} for line in lines])


def _evidence(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    """The closest pairs of a shard first."""
    stored = pool.storage.contaminated(str(output.shard)).evidence
    evidence = stored.read("sample_id", "twin_set", "twin_id", "kind", "similarity")
    closest = evidence.sort("similarity", descending=True, maintain_order=True)
    rows = closest.head(_ROWS_SHOWN).with_columns(pl.col("similarity").cast(pl.Float64).round(4))
    return table("evidence", rows.to_dicts())


def _largest_groups(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    groups = largest_groups(pool.storage.duplicates().evidence.read(), _ROWS_SHOWN)
    rows = [
        {
            "kept": row["twin_id"],
            "in_shard": row["twin_set"],
            "removed": row["n_removed"],
            "lowest_similarity": round(row["lowest_similarity"], 4),
            "e.g.": row["members"][0]["sample_id"],
        }
        for row in groups.iter_rows(named=True)
    ]
    return table("largest_groups", rows)


def _fit(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    return fit_metadata(output)


def _tree(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    facts, level_1 = output.require_facts(), Tree.cluster_map(1)
    measured = facts.summary["levels"]
    metadata = table("levels", [shown_level(row) for row in measured])
    if level_1.name in facts.files and facts.summary["previous_version"]:
        largest = level_1.of(output).read().sort("n_rows", descending=True).head(_ROWS_SHOWN)
        rows = largest.with_columns(pl.col("share_of_old").round(3))
        metadata |= table("old_to_new_level_1", rows.to_dicts())
    return metadata


def _drift(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    summary = output.require_facts().summary
    shards = pool.storage.drift().shards.read().drop("assign_digest")
    shards = shards.sort("in_fit", "score", descending=[False, True]).head(_ROWS_SHOWN)
    rows = shards.with_columns(pl.col("mean_distance", *DRIFT_FIGURES).round(4)).to_dicts()
    return {
        "decision": summary["decision"],
        "because": "; ".join(summary["reasons"]) or "within the policy",
        **table("shards", [row | {"in_fit": str(row["in_fit"])} for row in rows]),
    }


def _quotas(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    """How start levels were chosen, the levels of every target, and the balance of the first target's start level."""
    selection = pool.storage.selection()
    quotas, starts = selection.quotas.read(), output.require_facts().summary["balance_from"]
    first = quotas.filter(pl.col("target") == quotas["target"][0])
    level = starts[first["target"][0]]
    shared = first.filter(pl.col("level") == level)
    by_level = quotas.group_by("target", "level", "unit", maintain_order=True).agg(
        clusters=pl.len(), taken_from=(pl.col("quota") > 0).sum(), largest_quota=pl.col("quota").max()
    )
    measured = selection.start_levels.read().with_columns(pl.col("collapsed", "chosen").cast(pl.String))
    return {
        **table("start_levels", measured.to_dicts()),
        **table("quotas", by_level.to_dicts()),
        **size_metadata(
            shared["quota"].to_numpy(), f"start level quotas in {first['unit'][0]}", suffix="of_quotas"
        ),
    }


def _comparison(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    """The measures of all targets in one table, verdict and figure of each."""
    stored = pool.storage.comparison()
    verdicts = output.require_facts().summary["verdicts"]
    shown: dict[str, Any] = {}
    rows: list[pl.DataFrame] = []
    for name, compared in read_comparisons(pool.storage).items():
        mine = stored.measures.part("target", name).with_columns(
            value=pl.format("{} ± {}", pl.col("mean").round(3), pl.col("spread").fill_null(0.0).round(3)),
            of=pl.concat_str("measure", pl.col("field"), separator=" of ", ignore_nulls=True),
        )
        wide = mine.pivot("of", index="subset", values="value")
        rows.append(wide.select(pl.lit(name).alias("target"), pl.all()))
        shown |= {
            f"{name}/verdict": " ".join(verdict_lines(verdicts[name])),
            f"{name}/figure": comparison_picture(compared),
        }
    measures = pl.concat(rows, how="diagonal").fill_null("").to_dicts() if rows else []
    return table("measures", measures) | shown


def _frontier(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    return frontier_metadata(read_frontier(pool.storage))


def _probe(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    return probe_metadata(read_probes(pool.storage))


def _folders(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    targets = sorted({name.partition("/")[0] for name in output.require_facts().files})
    return {f"{target}/folder": dg.MetadataValue.path(str(output.path(target))) for target in targets}


def _atlas(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    stored = pool.storage.atlas()
    return {
        "command": dg.MetadataValue.md(f"```\n{atlas_command(stored, pool.spec)}\n```"),
        "projection": picture(stored.path(Atlas.PICTURE).read_bytes(), "the pool in the plane, by fate"),
        "table": dg.MetadataValue.path(str(stored.samples.path)),
    }


def _report(pool: PoolAccess, output: Output) -> Mapping[str, Any]:
    """The verdicts, the link to the page, and its figures."""
    facts = output.require_facts()
    files = facts.files
    verdicts = facts.summary.get("verdicts", {})
    pictures = {
        name.removesuffix(".png"): picture(output.path(name).read_bytes(), alt)
        for name, alt in _FIGURES.items()
        if name in files
    }
    return {
        **{f"verdicts/{target}": sentence for target, sentence in verdicts.items()},
        "open": dg.MetadataValue.url(report_url(pool.storage.pool)),
        "served_by": dg.MetadataValue.md("`curation-assets dev` or `curation-assets serve`, on this machine"),
        **pictures,
        "report": dg.MetadataValue.path(str(output.path(CurationReport.PAGE))),
    }


SHOWN: Mapping[str, Shown] = {
    "raw_pool": _left_out,
    "evaluation_sets": _rejected_samples,
    "contaminated": _evidence,
    "duplicates": _largest_groups,
    "initial": _fit,
    "resampled": _fit,
    "clusters": _fit,
    "tree": _tree,
    "drift": _drift,
    "selection": _quotas,
    "frontier": _frontier,
    "probe": _probe,
    "dataset_release": _folders,
    "comparison": _comparison,
    "atlas": _atlas,
    "curation_report": _report,
}
"""By the kind of a step. A step that is not listed shows its summary only."""
