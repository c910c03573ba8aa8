"""`curation-assets plan`: the estimated cost of curating a pool, stage by stage, and its assumptions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rich.console import Console

from curation_assets.algorithms.settings import DEFAULT_MEMORY_BUDGET
from curation_assets.cli.numbers import duration, size
from curation_assets.cli.tables import Sheet
from curation_assets.cli.terminal import say
from curation_assets.errors import PoolSpecError
from curation_assets.graph.levels import dropped_line, level_specs, why_dropped
from curation_assets.project import embedded_size, find_spec, open_home

if TYPE_CHECKING:
    from curation_assets.algorithms.costs.duration import Hardware
    from curation_assets.algorithms.costs.model import Plan, StageCost, Workload
    from curation_assets.algorithms.hierarchy import LevelSpec

_GPU_MEMORY = 80 * 10**9
_DEFAULT_LEVELS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Options of the command; None if not given."""

    pool: str | None = None
    rows: int | None = None
    dimension: int | None = None
    clusters: tuple[int, ...] | None = None
    coarse: int | None = None
    steps: int | None = None
    iterations: int | None = None
    fit_rows: int | None = None
    gpus: int | None = None
    tflops: float | None = None
    utilisation: float | None = None
    workers: int | None = None
    memory: int | None = None
    disk_gbps: float = 1.0
    network_gbps: float = 3.0
    embed_rate: float | None = None
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class PricedPlan:
    """A plan, the hardware it runs on, and the upper bound without the savings that are expected."""

    title: str
    workload: Workload
    hardware: Hardware
    expected: Plan
    most: Plan
    embed_rate: float | None
    n_levels: int
    """Levels that were asked for; those above the workload's are dropped."""

    @property
    def embedding_seconds(self) -> float:
        """Of all devices in parallel; 0 if --embed-rate is not given."""
        return self.workload.n_rows / (self.embed_rate * self.hardware.devices) if self.embed_rate else 0.0

    def seconds(self, plan: Plan) -> float:
        """Of embedding and all stages, one after another."""
        from curation_assets.algorithms.costs.duration import stage_time

        times = (stage_time(stage, self.workload.dimension, self.hardware) for stage in plan.stages)
        return self.embedding_seconds + sum(time.total for time in times)


def show_plan(options: PlanOptions) -> None:
    """Print the plan.

    Raises:
        PoolSpecError: if options are missing, contradict each other or are out of range.
    """
    try:
        priced = _priced(options)
    except ValueError as error:
        raise PoolSpecError(str(error)) from error
    if options.as_json:
        print(json.dumps(_as_json(priced), indent=2))
        return
    console = Console()
    _sheet(priced).show(console)
    assumptions = (f"- {line}" for line in _assumptions(priced, options))
    for line in (*_dropped(priced), *_totals(priced), "", "assumptions", *assumptions):
        say(console, line)


def _priced(options: PlanOptions) -> PricedPlan:
    from curation_assets.algorithms.costs.model import plan_cost

    title, workload, device, n_levels = _of_pool(options) if options.pool else _of_options(options)
    return PricedPlan(
        title,
        workload,
        _hardware(options, workload, device),
        plan_cost(workload),
        plan_cost(workload, at_most=True),
        options.embed_rate,
        n_levels,
    )


def _of_pool(options: PlanOptions) -> tuple[str, Workload, str, int]:
    """Title, workload, device and number of levels of a pool."""
    given = {
        "--clusters": options.clusters,
        "--coarse": options.coarse,
        "--steps": options.steps,
        "--iterations": options.iterations,
    }
    if clash := [name for name, value in given.items() if value is not None]:
        raise PoolSpecError(
            f"{clash[0]} cannot be used with --pool {options.pool}, because the pool's YAML sets the levels: leave out "
            f"one of the two"
        )
    home = open_home()
    spec = find_spec(home, options.pool or "")
    if options.fit_rows is not None:
        spec = spec.model_copy(update={"fit_rows": options.fit_rows})
    rows, dimension = options.rows, options.dimension
    if rows is None or dimension is None:
        stored = embedded_size(home.storage(spec.name))
        if stored is None:
            missing = " and ".join(
                f"{name} N" for name, value in (("--rows", rows), ("--dim", dimension)) if value is None
            )
            raise PoolSpecError(
                f"pool '{spec.name}' is not embedded yet, so its size is unknown: pass {missing}"
            )
        rows, dimension = rows or stored[0], dimension or stored[1]
    options = replace(options, rows=rows, dimension=dimension, fit_rows=spec.fit_rows)
    workload = _workload(options, level_specs(spec, rows), spec.memory_budget)
    return spec.name, workload, spec.fit_device, spec.n_levels


def _of_options(options: PlanOptions) -> tuple[str, Workload, str, int]:
    """The same without one."""
    from curation_assets.algorithms.costs.planning import plan_levels
    from curation_assets.algorithms.hierarchy import LevelSpec

    if options.rows is None or options.dimension is None:
        raise PoolSpecError("pass --pool NAME, or --rows and --dim, for example --rows 743e6 --dim 1024")
    n_fitted = min(options.fit_rows or options.rows, options.rows)
    clusters = options.clusters or [level.n_clusters for level in plan_levels(n_fitted, _DEFAULT_LEVELS)]
    if any(above >= below for below, above in pairwise(clusters)):
        raise PoolSpecError(
            f"--clusters: expected fewer clusters on every level, got {','.join(map(str, clusters))}"
        )
    levels = [
        LevelSpec(
            n_clusters=k,
            n_coarse_clusters=options.coarse if level == 1 else None,
            # A split level is not resampled.
            resampling_steps=None if options.coarse and level == 1 else options.steps,
            max_iterations=options.iterations or 50,
        )
        for level, k in enumerate(clusters, start=1)
    ]
    n_levels = len(levels) if options.clusters else _DEFAULT_LEVELS
    return "plan", _workload(options, levels, DEFAULT_MEMORY_BUDGET), "auto", n_levels


def _workload(options: PlanOptions, levels: list[LevelSpec], memory_budget: int) -> Workload:
    """The workload of options that have rows and dimension."""
    from curation_assets.algorithms.costs.model import Workload

    return Workload(
        n_rows=options.rows or 0,
        dimension=options.dimension or 0,
        levels=levels,
        fit_rows=options.fit_rows,
        workers=options.workers or options.gpus or 1,
        memory_budget=options.memory or (_GPU_MEMORY if options.gpus else memory_budget),
    )


def _hardware(options: PlanOptions, workload: Workload, device: str) -> Hardware:
    from curation_assets.algorithms.costs.device_rate import (
        A100_TFLOPS,
        DEFAULT_UTILISATION,
        gpu_rate,
        measure_rate,
    )
    from curation_assets.algorithms.costs.duration import Hardware
    from curation_assets.pools.device import resolve_device

    if not options.gpus and (options.tflops or options.utilisation):
        raise PoolSpecError("--tflops and --utilisation describe GPUs: also pass --gpus N")
    if options.gpus:
        rate = gpu_rate(options.tflops or A100_TFLOPS, options.utilisation or DEFAULT_UTILISATION)
    else:
        rate = measure_rate(workload.dimension, resolve_device(device, "fit_device"))
    return Hardware(
        rate=rate,
        devices=options.gpus or workload.workers,
        workers=workload.workers,
        disk_bytes_per_second=options.disk_gbps * 1e9,
        network_bytes_per_second=options.network_gbps * 1e9,
    )


def _sheet(priced: PricedPlan) -> Sheet:
    from curation_assets.algorithms.costs.duration import stage_time

    workload = priced.workload
    sheet = Sheet(
        ("level", "stage", "rows", "clusters", "times", "distances", "disk", "network", "time"),
        title=f"{priced.title}: {workload.n_rows:,} rows of {workload.dimension:,} dimensions",
        texts=("stage",),
        less_needed=("times", "network", "disk", "distances"),
    )
    if priced.embed_rate:
        sheet.add("", "embed", f"{workload.n_rows:,}", *[""] * 5, duration(priced.embedding_seconds))
    before = 0
    for stage in priced.expected.stages:
        sheet.add(
            "" if stage.level == before else str(stage.level),
            stage.stage,
            f"{stage.n_rows:,}",
            f"{stage.n_clusters:,}",
            f"{stage.n_fits:,}",
            f"{stage.distances:.2g}" if stage.distances else "",
            size(stage.read_bytes + stage.written_bytes),
            size(stage.network_bytes),
            duration(stage_time(stage, workload.dimension, priced.hardware).total),
        )
        before = stage.level
    return sheet


def _dropped(priced: PricedPlan) -> Iterator[str]:
    levels = priced.workload.levels
    if len(levels) < priced.n_levels:
        yield dropped_line(len(levels) + 1, priced.n_levels, why_dropped(levels))


def _totals(priced: PricedPlan) -> Iterator[str]:
    plan, workload, hardware = priced.expected, priced.workload, priced.hardware
    seconds, most = priced.seconds(plan), priced.seconds(priced.most)
    unit = f"; {seconds * hardware.devices / 3600:,.1f} device-hours" if hardware.devices > 1 else ""
    yield f"time       {duration(seconds)}{unit}; at most {duration(most)}"
    flops = 2 * workload.dimension
    yield (
        f"distances  {plan.distances:.3g} ({flops * plan.distances:.3g} FLOP); at most {priced.most.distances:.3g} "
        f"({flops * priced.most.distances:.3g} FLOP)"
    )
    for level in plan.memory:
        rows = "rows held in memory" if level.rows_resident else "rows read from disk in every pass"
        over = "" if level.fixed_bytes <= workload.memory_budget else ": MORE THAN THE BUDGET"
        yield f"memory     level {level.level}: {size(level.total_bytes)} per worker, {rows}{over}"
    disk = plan.disk
    yield (
        f"disk       {size(disk.total)}: embeddings {size(disk.embeddings)}, assignments "
        f"{size(disk.assignments)}, centroids {size(disk.centroids)}"
        + (f", temporary files of the split {size(disk.split_files)}" if disk.split_files else "")
    )
    yield f"network    {size(plan.network_bytes) or '0 GB'} for all workers together"


def _assumptions(priced: PricedPlan, options: PlanOptions) -> Iterator[str]:
    hardware, workload = priced.hardware, priced.workload
    device = "GPU" if options.gpus else "machine like this one" if workload.workers > 1 else "machine"
    yield (
        f"each {device}: {hardware.rate.search_flops / 1e12:.3g} TFLOP/s in searches, "
        f"{hardware.rate.assign_flops / 1e12:.3g} in assignments from scratch ({hardware.rate.source}"
        + ("" if options.gpus else "; slower if other processes are running")
        + ")"
    )
    yield (
        f"{hardware.devices} devices and {workload.workers} workers; each worker has {size(workload.memory_budget)} of "
        f"memory, {options.disk_gbps:g} GB/s of disk and {options.network_gbps:g} GB/s of network"
    )
    yield "'at most': every fit runs all its iterations and searches all centroids in each"
    yield "reading overlaps with computing, sending does not; stages run one after another"
    yield (
        "iterations, and the centroids searched in each, follow from the rows per cluster, as measured on synthetic "
        "pools at a tolerance of 1e-4; pools differ by about a factor of 2 (docs/planning.md)"
    )
    yield "every cluster has enough rows for resampling; coarse clusters have equal sizes"
    if options.gpus:
        yield "no GPU was measured; fixed times of small steps are those of a CPU"
    if not priced.embed_rate:
        yield "not counted: embedding (pass --embed-rate), deduplication, selection and writing the dataset"


def _as_json(priced: PricedPlan) -> dict[str, Any]:
    from curation_assets.algorithms.costs.duration import stage_time

    def stage_json(stage: StageCost) -> dict[str, Any]:
        time = stage_time(stage, priced.workload.dimension, priced.hardware)
        return {
            **asdict(stage),
            "distances": stage.distances,
            "seconds": {**asdict(time), "total": time.total},
        }

    return {
        "rows": priced.workload.n_rows,
        "dimension": priced.workload.dimension,
        "dropped_levels": list(range(len(priced.workload.levels) + 1, priced.n_levels + 1)),
        "workers": priced.workload.workers,
        "memory_budget": priced.workload.memory_budget,
        "hardware": asdict(priced.hardware),
        "stages": [stage_json(stage) for stage in priced.expected.stages],
        "memory": [{**asdict(level), "total_bytes": level.total_bytes} for level in priced.expected.memory],
        "disk": {**asdict(priced.expected.disk), "total": priced.expected.disk.total},
        "embedding_seconds": priced.embedding_seconds,
        "distances": priced.expected.distances,
        "distances_at_most": priced.most.distances,
        "seconds": priced.seconds(priced.expected),
        "seconds_at_most": priced.seconds(priced.most),
    }
