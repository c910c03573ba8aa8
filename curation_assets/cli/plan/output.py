"""A priced plan as a table, in words, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console

from curation_assets.cli.numbers import duration, size
from curation_assets.cli.plan.pricing import PlanOptions, PricedPlan, priced
from curation_assets.cli.tables import Sheet
from curation_assets.cli.terminal import say
from curation_assets.errors import PoolSpecError
from curation_assets.graph.levels import dropped_line, why_dropped

if TYPE_CHECKING:
    from curation_assets.algorithms.costs.model import LevelMemory, StageCost


def show_plan(options: PlanOptions) -> None:
    """Print the plan.

    Raises:
        PoolSpecError: if options are missing, contradict each other or are out of range.
    """
    try:
        plan = priced(options)
    except ValueError as error:
        raise PoolSpecError(str(error)) from error
    if options.as_json:
        print(json.dumps(_as_json(plan), indent=2))
        return
    console = Console()
    _sheet(plan).show(console)
    assumptions = (f"- {line}" for line in _assumptions(plan, options))
    for line in (*_dropped(plan), *_totals(plan), "", "assumptions", *assumptions):
        say(console, line)


def _sheet(plan: PricedPlan) -> Sheet:
    from curation_assets.algorithms.costs.duration import stage_time

    workload = plan.workload
    sheet = Sheet(
        ("level", "stage", "rows", "clusters", "times", "distances", "disk", "network", "time"),
        title=f"{plan.title}: {workload.n_rows:,} rows of {workload.dimension:,} dimensions",
        texts=("stage",),
        less_needed=("times", "network", "disk", "distances"),
    )
    if plan.embed_rate:
        sheet.add("", "embed", f"{workload.n_rows:,}", *[""] * 5, duration(plan.embedding_seconds))
    before = 0
    for stage in plan.expected.stages:
        sheet.add(
            "" if stage.level == before else str(stage.level),
            stage.stage,
            f"{stage.n_rows:,}",
            f"{stage.n_clusters:,}",
            f"{stage.n_fits:,}",
            f"{stage.distances:.2g}" if stage.distances else "",
            size(stage.read_bytes + stage.written_bytes),
            size(stage.network_bytes),
            duration(stage_time(stage, workload.dimension, plan.hardware).total),
        )
        before = stage.level
    return sheet


def _dropped(plan: PricedPlan) -> Iterator[str]:
    levels = plan.workload.levels
    if len(levels) < plan.n_levels:
        yield dropped_line(len(levels) + 1, plan.n_levels, why_dropped(levels))


def _totals(plan: PricedPlan) -> Iterator[str]:
    expected, workload, hardware = plan.expected, plan.workload, plan.hardware
    seconds, most = plan.seconds(expected), plan.seconds(plan.most)
    unit = f"; {seconds * hardware.devices / 3600:,.1f} device-hours" if hardware.devices > 1 else ""
    yield f"time       {duration(seconds)}{unit}; at most {duration(most)}"
    flops = 2 * workload.dimension
    yield (
        f"distances  {expected.distances:.3g} ({flops * expected.distances:.3g} FLOP); at most "
        f"{plan.most.distances:.3g} ({flops * plan.most.distances:.3g} FLOP)"
    )
    for level in expected.memory:
        over = "" if level.fixed_bytes <= workload.memory_budget else ": MORE THAN THE BUDGET"
        rows = "" if level.card else f", {_where_rows_are(level)}"
        yield f"memory     level {level.level}: {size(level.total_bytes)} per worker{rows}{over}"
    for level in expected.memory:
        if level.card:
            over = "" if level.card.fits else ": MORE THAN THE CARD HAS FOR FITS"
            yield (
                f"card       level {level.level}: {size(level.card.total_bytes)} of {size(level.card.budget)}, "
                f"{_where_rows_are(level)}{over}"
            )
    disk = expected.disk
    yield (
        f"disk       {size(disk.total)}: embeddings {size(disk.embeddings)}, assignments "
        f"{size(disk.assignments)}, centroids {size(disk.centroids)}"
        + (f", temporary files of the split {size(disk.split_files)}" if disk.split_files else "")
    )
    yield f"network    {size(expected.network_bytes) or '0 GB'} for all workers together"


def _where_rows_are(level: LevelMemory) -> str:
    if level.card is None:
        return "rows held in memory" if level.rows_resident else "rows read from disk in every pass"
    if level.rows_resident:
        return f"{size(level.card.rows_bytes)} of rows stay there"
    return f"{size(level.card.rows_bytes)} of rows read from disk and copied to it in every pass"


def _assumptions(plan: PricedPlan, options: PlanOptions) -> Iterator[str]:
    hardware, workload, rate = plan.hardware, plan.workload, plan.hardware.rate
    device = "GPU" if options.plans_cards else "machine like this one" if workload.workers > 1 else "machine"
    yield (
        f"each {device}: {rate.search_flops / 1e12:.3g} TFLOP/s in searches, "
        f"{rate.assign_flops / 1e12:.3g} in assignments from scratch ({rate.source}"
        + ("" if options.plans_cards else "; slower if other processes are running")
        + ")"
    )
    if rate.memory_rate and rate.link_rate and workload.device_memory:
        source = "data sheet" if options.plans_cards else "measured just now"
        yield (
            f"each {plan.card}: {size(workload.device_memory)} for fits (device_memory), its memory reads "
            f"{rate.memory_rate / 1e12:.3g} TB/s, and {rate.link_rate / 1e9:.3g} GB/s come from the host ({source})"
        )
    yield (
        f"devices: {hardware.devices}, workers: {workload.workers}; each worker has {size(workload.memory_budget)} of "
        f"memory, {options.disk_gbps:g} GB/s of disk and {options.network_gbps:g} GB/s of network"
    )
    yield "'at most': every fit runs all its iterations and searches all centroids in each"
    yield "reading overlaps with computing, sending does not; stages run one after another"
    yield (
        "iterations, and the centroids searched in each, follow from the rows per cluster, as measured on synthetic "
        "pools at a tolerance of 1e-4; pools differ by about a factor of 2 (docs/planning.md)"
    )
    yield "every cluster has enough rows for resampling; coarse clusters have equal sizes"
    if plan.card:
        yield "fixed times of small steps are those of a processor, and of seeds those of an H200"
    if not plan.embed_rate:
        yield "not counted: embedding (pass --embed-rate), deduplication, selection and writing the dataset"


def _as_json(plan: PricedPlan) -> dict[str, Any]:
    from curation_assets.algorithms.costs.duration import stage_time

    def stage_json(stage: StageCost) -> dict[str, Any]:
        time = stage_time(stage, plan.workload.dimension, plan.hardware)
        return {
            **asdict(stage),
            "distances": stage.distances,
            "seconds": {**asdict(time), "total": time.total},
        }

    def memory_json(level: LevelMemory) -> dict[str, Any]:
        card = level.card and {
            **asdict(level.card),
            "total_bytes": level.card.total_bytes,
            "is_resident": level.card.is_resident,
        }
        return {**asdict(level), "total_bytes": level.total_bytes, "card": card}

    return {
        "rows": plan.workload.n_rows,
        "dimension": plan.workload.dimension,
        "dropped_levels": list(range(len(plan.workload.levels) + 1, plan.n_levels + 1)),
        "workers": plan.workload.workers,
        "memory_budget": plan.workload.memory_budget,
        "device_memory": plan.workload.device_memory,
        "card": plan.card,
        "hardware": asdict(plan.hardware),
        "stages": [stage_json(stage) for stage in plan.expected.stages],
        "memory": [memory_json(level) for level in plan.expected.memory],
        "disk": {**asdict(plan.expected.disk), "total": plan.expected.disk.total},
        "embedding_seconds": plan.embedding_seconds,
        "distances": plan.expected.distances,
        "distances_at_most": plan.most.distances,
        "seconds": plan.seconds(plan.expected),
        "seconds_at_most": plan.seconds(plan.most),
    }
