"""Facts and figures as Dagster metadata."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np

from curation_assets.report.comparison import ComparisonSummary, FrontierLine, ProbeSummary
from curation_assets.report.sparkline import sparkline_markdown
from curation_assets.storage.outputs import Facts, Output
from curation_assets.storage.tables import LevelClusters

_WIDEST_PICTURE = 960
_INTERNALS = frozenset(
    {
        *(
            "tree_version",
            "previous_version",
            "versions",
            "grid_step",
            "decided_by",
            "n_rounds",
            "n_clusters_touched",
        ),
        *("n_archived", "n_observed", "seconds", "share", "engine", "encoder"),
    }
)
"""Keys of summaries that say how an output was made, not what is in it."""
_SHOWN_ELSEWHERE = frozenset({"verdicts"})
_OF_TARGETS = {"targets": "n_samples", "n_written": "n_samples", "sizes": "n_samples", "tokens": "n_tokens"}
"""Summaries that map targets to one figure -> the name of the figure."""


def summary_metadata(
    facts: Facts, targets: Sequence[str] = (), *, is_partition: bool = True
) -> dict[str, Any]:
    """The counts and figures of an output: those of targets as a table, what only developers need under one key."""
    metadata: dict[str, Any] = {}
    internals: dict[str, Any] = {"fingerprint": facts.fingerprint}
    rows: dict[str, dict[str, Any]] = {name: {} for name in targets}
    for name, value in facts.summary.items():
        if name in _INTERNALS:
            internals[name] = value
        elif name in rows and isinstance(value, Mapping):
            rows[name] |= {key: rounded(inner) for key, inner in value.items() if _is_plain(inner)}
        elif isinstance(value, Mapping) and value and set(value) <= set(targets):
            if name not in _SHOWN_ELSEWHERE:
                for target, inner in value.items():
                    if _is_plain(inner):
                        rows[target][_OF_TARGETS.get(name, name)] = rounded(inner)
        elif isinstance(value, Mapping):
            metadata |= {f"{name}/{key}": rounded(inner) for key, inner in value.items() if _is_plain(inner)}
        elif _is_plain(value):
            metadata[name] = rounded(value)
    # Every record of a table has the same fields.
    fields = dict.fromkeys(field for row in rows.values() for field in row)
    filled = [
        {"target": name, **{field: row.get(field, "") for field in fields}}
        for name, row in rows.items()
        if row
    ]
    metadata |= table("targets", filled)
    if "n_rows" in facts.summary:
        key = "dagster/partition_row_count" if is_partition else "dagster/row_count"
        metadata[key] = facts.summary["n_rows"]
    return metadata | {"made_at": facts.made_at, "internals": dg.MetadataValue.json(internals)}


def rounded(value: Any) -> Any:
    """A figure as it is shown: four digits, and no decimals from 1,000 on. Other values stay."""
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    return float(round(value)) if abs(value) >= 1_000 else float(f"{value:.4g}")


def nothing_done(reused: Sequence[Facts]) -> str:
    """A line for outputs that were up to date, so that no green event hides that nothing was done."""
    since = max((facts.made_at for facts in reused), default="")
    return f"nothing done: up to date since {since[:19].replace('T', ' ')} UTC"


def reused_metadata(facts: Facts) -> dict[str, Any]:
    """What marks the event of an output that was up to date; `made_at` of the summary says when it was made."""
    return {"nothing_done": nothing_done([facts]).partition(": ")[2], "reused": True}


def add_partition_metadata(
    context: dg.AssetExecutionContext, by_partition: Mapping[str, Mapping[str, Any]]
) -> None:
    """Show figures of each partition on its materialization.

    `context.add_asset_metadata` lists all partitions of the pool on every call, to check that the run holds the key:
    10 ms a call, and more with every shard. These keys are those of the run, so the check is not needed.
    """
    step = context.get_step_execution_context()
    if not hasattr(getattr(step, "_metadata_accumulator", None), "with_additional_asset_metadata"):
        # Another release of Dagster.
        for key, metadata in by_partition.items():
            context.add_asset_metadata(metadata, partition_key=key)
        return
    found = step._metadata_accumulator  # noqa: SLF001 - see above
    for key, metadata in by_partition.items():
        found = found.with_additional_asset_metadata(context.asset_key, key, metadata)
    step._metadata_accumulator = found  # noqa: SLF001


def table(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A table for the UI; nothing if it has no rows, as Dagster cannot show an empty one."""
    return {name: dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows])} if rows else {}


def fit_metadata(output: Output) -> dict[str, Any]:
    """Curves of a fit: inertia by iteration, and the sizes of its clusters."""
    from curation_assets.report.figures import inertia_curve

    facts = output.require_facts()
    inertias = facts.summary.get("inertias") or []
    metadata: dict[str, Any] = {}
    if LevelClusters.assignments.name in facts.files:
        sizes = np.bincount(
            output.array(LevelClusters.assignments.name), minlength=facts.summary.get("n_clusters", 0)
        )
        metadata |= size_metadata(sizes)
    if inertias:
        metadata["inertia"] = rounded(inertias[-1][-1])
        metadata["inertia_curve"] = dg.MetadataValue.md(
            sparkline_markdown(inertias[-1], "inertia by iteration")
        )
        metadata["inertia_plot"] = picture(inertia_curve(inertias), "inertia by iteration, one line per fit")
        fits = enumerate(inertias, start=1)
        rows = [{"fit": i, "iterations": len(fit), "inertia": rounded(fit[-1])} for i, fit in fits]
        metadata |= table("fits", rows)
    return metadata


def frontier_metadata(lines: Sequence[FrontierLine]) -> dict[str, Any]:
    """The curves of a frontier, and a line for each size and way to draw."""
    from curation_assets.report.comparison_figures import frontier_curves, panel_title

    titles = dict.fromkeys(panel_title(line.key) for line in lines)
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for line in lines:
        for size, figure in zip(line.sizes, line.figures, strict=True):
            # Every record of a table has the same fields.
            blank = {"size": size, "subset": line.subset, **dict.fromkeys(titles, "")}
            rows.setdefault((size, line.subset), blank)[panel_title(line.key)] = float(f"{figure.mean:.4g}")
    plot = picture(frontier_curves(lines), "measures of subsets by size")
    return {"frontier": plot, **table("subsets", list(rows.values()))}


def probe_metadata(probes: Sequence[ProbeSummary]) -> dict[str, Any]:
    """What is learnt from each kind of subset of every target, and the labels that lose most."""
    from curation_assets.report.probes import probe_plot

    metadata: dict[str, Any] = {}
    if any(probe.names for probe in probes):
        metadata["probes"] = picture(probe_plot(probes), "what is learnt from each kind of subset")
    rows: list[dict[str, Any]] = []
    losses: list[dict[str, Any]] = []
    # Every record of a table has the same fields.
    names = dict.fromkeys(name for probe in probes for name in probe.names)
    for probe in probes:
        for row in probe.rows:
            means = ["" if figure is None else float(f"{figure.mean:.4g}") for figure in row.figures]
            shown = dict.fromkeys(names, "") | dict(zip(probe.names, means, strict=True))
            mine = {"target": probe.target, "subset": row.subset, "is_the_target": str(row.is_chosen)}
            rows.append(mine | shown)
        losses += [
            {
                "target": probe.target,
                "label": loss.label,
                "random": rounded(loss.random),
                "chosen": rounded(loss.chosen),
                "n_test_samples": loss.n_test,
            }
            for loss in probe.losses
        ]
    return metadata | table("accuracy", rows) | table("losses", losses)


def size_metadata(
    sizes: np.ndarray, what: str = "cluster sizes", suffix: str = "of_inputs"
) -> dict[str, Any]:
    """Balance of cluster sizes, or of the quotas of clusters, with the falling curve.

    Args:
        sizes: int64 (k,).
        what: they are.
        suffix: ends the names of the figures: inputs of a fit are samples at level 1, and centroids above.
    """
    from curation_assets.algorithms.balance import balance_of

    balance = balance_of(sizes)
    curve = np.sort(sizes)[::-1]
    return {
        what.replace(" ", "_"): dg.MetadataValue.md(
            sparkline_markdown(curve.tolist(), f"{what}, largest first")
        ),
        f"effective_clusters_{suffix}": rounded(balance.effective_number),
        f"largest_share_{suffix}": rounded(balance.largest_share),
        f"gini_{suffix}": rounded(balance.gini),
        f"n_empty_{suffix}": balance.n_empty,
    }


def comparison_picture(comparison: ComparisonSummary) -> dg.MarkdownMetadataValue:
    """Every measure of the subsets that a target is compared with."""
    from curation_assets.report.comparison_figures import comparison_panels

    alt = "every measure of random, flat k-means, start levels and the chosen subset"
    return picture(comparison_panels(comparison), alt)


def picture(png: bytes, alt: str) -> dg.MarkdownMetadataValue:
    """A picture for the UI's dialog, scaled down to its width."""
    png = _narrowed(png)
    return dg.MetadataValue.md(f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})")


def _narrowed(png: bytes) -> bytes:
    """The dialog takes 80 % of the window and cuts what is wider."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        if image.width <= _WIDEST_PICTURE:
            return png
        height = round(image.height * _WIDEST_PICTURE / image.width)
        buffer = io.BytesIO()
        image.resize((_WIDEST_PICTURE, height), Image.Resampling.LANCZOS).save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
