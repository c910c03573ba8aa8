"""`curation-assets validate`: a pool's YAML, its files, and what the curation will cost."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from curation_assets.graph.levels import level_specs
from curation_assets.pools import PoolSpec, load_pool_spec
from curation_assets.project import embedded_size, open_home
from curation_assets.storage.pool_storage import PoolStorage

_TYPICAL_DIMENSION = 1024


def validate_pool(path: Path, rows: int | None, dimension: int | None) -> None:
    """Print what a pool's file says; raises PoolSpecError for what it must not say.

    Args:
        path: the YAML file.
        rows: samples to plan for; those ingested if not given.
        dimension: of an embedding; that of the stored ones if not given.
    """
    from curation_assets.formats import build_reader
    from curation_assets.steps.cleaning.evaluation_sets import list_evaluation_sets
    from curation_assets.steps.context import evaluation_readers

    home = open_home()
    spec = load_pool_spec(path)
    console = Console()
    files = build_reader(spec.source, home.folder).list_files() if rows is None else []
    if files:
        size = sum(file.size_bytes for file in files)
        console.print(
            f"{path}: valid; {len(files)} files, {size / 1e6:,.1f} MB", highlight=False, soft_wrap=True
        )
    else:
        console.print(f"{path}: valid", highlight=False, soft_wrap=True)
    for name, listed in list_evaluation_sets(evaluation_readers(spec, home.folder)).items():
        console.print(f"evaluation set {name}: {len(listed):,} files", highlight=False, soft_wrap=True)
    storage = PoolStorage(home.storage_root, spec.name)
    if rows is None and (embedded := embedded_size(storage)):
        rows, dimension = embedded[0], dimension or embedded[1]
    if rows is None:
        console.print("sizes of the levels and targets are checked when the pool is embedded, or with --rows")
        return
    _show_plan(console, spec, rows, dimension or _TYPICAL_DIMENSION)


def _show_plan(console: Console, spec: PoolSpec, rows: int, dimension: int) -> None:
    from curation_assets.algorithms.costs.model import Workload, plan_cost

    spec.require_feasible(rows)
    levels = level_specs(spec, rows)
    table = Table(
        title=f"{spec.name}: plan for {rows:,} samples of {dimension:,} dimensions", title_justify="left"
    )
    for column in ("level", "inputs", "clusters", "resampling steps", "kept per cluster"):
        table.add_column(column, justify="right")
    n_inputs = spec.n_rows_of_fit(rows)
    for t, level in enumerate(levels, start=1):
        kept = f"{level.kept_per_cluster(n_inputs):,}" if level.steps else "-"
        table.add_row(str(t), f"{n_inputs:,}", f"{level.n_clusters:,}", str(level.steps), kept)
        n_inputs = level.n_clusters
    console.print(table)
    workload = Workload(
        n_rows=rows,
        dimension=dimension,
        levels=levels,
        fit_rows=spec.fit_rows,
        memory_budget=spec.memory_budget,
    )
    plan = plan_cost(workload)
    flops = 2 * dimension * plan.distances
    in_memory = plan.memory[0].rows_resident
    console.print(
        f"about {plan.distances:.2g} distance computations ({flops:.2g} FLOP), embeddings "
        f"{plan.disk.embeddings / 1e9:,.2f} GB on disk, {plan.worker_bytes / 1e9:,.2f} GB of memory for the "
        f"largest fit, {'rows held in it' if in_memory else 'rows read from disk in every pass'}; "
        f"`curation-assets plan` shows every stage and its time",
        highlight=False,
    )
    if any(level.fixed_bytes > spec.memory_budget for level in plan.memory):
        console.print(
            f"that is more than memory_budget = {spec.memory_budget / 1e9:,.2f} GB: raise it, or set fit_rows or "
            f"n_coarse_clusters",
            style="red",
            highlight=False,
        )
    for target in spec.targets:
        size = f"{target.resolve(rows):,} samples" if target.tokens is None else f"{target.tokens:,} tokens"
        console.print(f"target {target.name}: {size}, {target.strategy}", highlight=False)
