"""The stored comparison, frontier and probe, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from curation_assets.report.comparison import (
    ComparedSubset,
    ComparisonSummary,
    Figure,
    FrontierLine,
    Key,
    LabelLoss,
    ProbeRow,
    ProbeSummary,
    StartLevelSummary,
    VerdictSummary,
)
from curation_assets.steps.comparison.candidates import RANDOM, level_name
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Selection

_NEAREST = "nearest_neighbour"
_MOST_LOSSES = 8


def read_comparisons(storage: PoolStorage) -> dict[str, ComparisonSummary]:
    """The comparison of every target by name; empty if there is none."""
    stored = storage.comparison()
    facts = stored.facts()
    if facts is None:
        return {}
    measures = stored.measures.read()
    return {
        name: ComparisonSummary(_subsets(measures.filter(pl.col("target") == name)), _verdict(verdict))
        for name, verdict in facts.summary["verdicts"].items()
    }


def read_start_levels(storage: PoolStorage) -> dict[str, list[StartLevelSummary]]:
    """What the levels scored, by target; empty for a target whose level was named."""
    selection = storage.selection()
    facts = selection.facts()
    if facts is None or Selection.start_levels.name not in facts.files:
        return {}
    found: dict[str, list[StartLevelSummary]] = {}
    for row in selection.start_levels.read().iter_rows(named=True):
        summary = StartLevelSummary(row["level"], row["score"], row["noise"], row["collapsed"])
        found.setdefault(row["target"], []).append(summary)
    return found


def read_frontier(storage: PoolStorage) -> list[FrontierLine]:
    """The measures by size; empty without a frontier."""
    stored = storage.frontier()
    if stored.facts() is None:
        return []
    parts = stored.measures.read().partition_by(
        "field", "measure", "subset", as_dict=True, maintain_order=True
    )
    lines = []
    for (label_field, measure, subset), part in parts.items():
        mine = part.sort("size")
        figures = [Figure(*row) for row in mine.select("mean", "spread").iter_rows()]
        key = Key(None if label_field is None else str(label_field), str(measure))
        lines.append(FrontierLine(key, str(subset), mine["size"].to_list(), figures))
    return lines


def read_probes(storage: PoolStorage) -> list[ProbeSummary]:
    """What probes learnt, target by target; empty without a probe."""
    stored = storage.probe()
    if (facts := stored.facts()) is None:
        return []
    selected = storage.selection().facts()
    levels: Mapping[str, int] = selected.summary.get("balance_from", {}) if selected else {}
    accuracy = stored.accuracy.read().rename({"probe": "name"})
    tables = [accuracy.select("target", "subset", "name", "mean", "spread")]
    if stored.figures.name in facts.files:
        figures = stored.figures.read().rename({"figure": "name"})
        tables.append(figures.select(tables[0].columns))
    table = pl.concat(tables)
    labels = stored.labels.read()
    return [
        _probe(str(target), part, labels.filter(pl.col("target") == target), levels)
        for (target,), part in table.partition_by("target", as_dict=True, maintain_order=True).items()
    ]


def _subsets(measures: pl.DataFrame) -> list[ComparedSubset]:
    subsets = []
    for (name,), part in measures.partition_by("subset", as_dict=True, maintain_order=True).items():
        figures = {
            Key(row["field"], row["measure"]): Figure(row["mean"], row["spread"])
            for row in part.iter_rows(named=True)
        }
        subsets.append(ComparedSubset(str(name), part["level"][0], figures))
    return subsets


def _verdict(stored: Mapping[str, Any]) -> VerdictSummary:
    names = ("sentence", "outcome", "gain", "noise", "costs", "alarms", "unsampled", "remedy")
    return VerdictSummary(**{name: stored[name] for name in names})


def _probe(target: str, table: pl.DataFrame, labels: pl.DataFrame, levels: Mapping[str, int]) -> ProbeSummary:
    chosen = level_name(levels[target]) if target in levels else ""
    names = table["name"].unique(maintain_order=True).to_list()
    rows = []
    for (subset,), part in table.partition_by("subset", as_dict=True, maintain_order=True).items():
        figures = {
            name: Figure(mean, spread)
            for name, mean, spread in part.select("name", "mean", "spread").iter_rows()
        }
        rows.append(ProbeRow(str(subset), subset == chosen, [figures.get(name) for name in names]))
    compared = labels.filter(pl.col("probe") == _NEAREST, pl.col("subset").is_in([RANDOM, chosen])).pivot(
        "subset", index=["label", "n_test"], values="accuracy"
    )
    if not {RANDOM, chosen} <= set(compared.columns):
        return ProbeSummary(target, names, rows)
    lost = compared.filter(pl.col(chosen) < pl.col(RANDOM)).sort(
        pl.col(chosen) - pl.col(RANDOM), "label", descending=[False, False]
    )
    losses = [
        LabelLoss(*row)
        for row in lost.head(_MOST_LOSSES).select("label", RANDOM, chosen, "n_test").iter_rows()
    ]
    return ProbeSummary(target, names, rows, losses, len(lost), len(compared))
