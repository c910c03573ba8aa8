"""`curation-assets validate`: checks a pool's YAML and files, and shows the planned levels."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from curation_assets.cli.tables import Sheet
from curation_assets.cli.terminal import say
from curation_assets.errors import PoolSpecError
from curation_assets.formats.accounts import left_out_lines
from curation_assets.formats.base import Listing
from curation_assets.graph.levels import dropped_line, level_specs, why_dropped
from curation_assets.pools import PoolSpec, load_pool_spec
from curation_assets.pools.projects.components import COMPONENT_NAMES, read_component_file
from curation_assets.project import Home, embedded_size, open_home, pools_of

_TYPICAL_DIMENSION = 1024


def validate_pool(path: Path, rows: int | None, dimension: int | None) -> None:
    """Print a pool's files and its planned levels.

    Args:
        path: the YAML file of a pool, or of components.
        rows: samples to plan for; the number of stored embeddings if None.
        dimension: of an embedding; that of the stored embeddings if None.

    Raises:
        PoolSpecError: if the YAML is invalid, files are missing, a level or target does not fit the samples, or the
            file lies in the folder of the pools but is not used.
    """
    home = open_home()
    for spec in _specs_of(path):
        _require_used(home, path)
        _validate(home, path, spec, rows, dimension)


def _specs_of(path: Path) -> list[PoolSpec]:
    """The pools of a file: the one of a pool file, or those that a `defs.yaml` declares as components."""
    components = read_component_file(path) if path.name in COMPONENT_NAMES else []
    if not components:
        return [load_pool_spec(path)]
    if wrong := [component.loaded for component in components if isinstance(component.loaded, str)]:
        raise PoolSpecError("\n".join(wrong))
    return [component.loaded for component in components if isinstance(component.loaded, PoolSpec)]


def _validate(home: Home, path: Path, spec: PoolSpec, rows: int | None, dimension: int | None) -> None:
    from curation_assets.steps.cleaning.evaluation_sets import list_evaluation_sets
    from curation_assets.steps.comparison.labels_table import find_labels_table, read_labels_table
    from curation_assets.steps.context import PoolAccess
    from curation_assets.steps.feasibility import require_sound_evaluation_sets, require_sound_start

    pool = PoolAccess(spec, home.storage(spec.name), str(home.folder))
    console = Console()
    listing = pool.reader.look() if rows is None else Listing([])
    files = listing.files
    warning = require_sound_start(pool, files)
    size = f"; {len(files)} files, {sum(file.size_bytes for file in files) / 1e6:,.1f} MB" if files else ""
    say(console, f"{path}: valid{size}")
    if warning:
        say(console, warning, "yellow")
    for line in left_out_lines(listing.left_out):
        say(console, line)
    evaluation_sets = list_evaluation_sets(pool.evaluation_readers)
    require_sound_evaluation_sets(pool, evaluation_sets)
    for name, listed in evaluation_sets.items():
        say(console, f"evaluation set {name}: {len(listed):,} files")
    if (labels := find_labels_table(pool)) is not None and spec.probe and spec.probe.labels:
        n_labels = len(read_labels_table(spec.probe.labels, home.folder))
        say(
            console,
            f"table of labels {labels.path}: {labels.size_bytes / 1e6:,.1f} MB, {n_labels:,} labelled ids",
        )
    if rows is None and (embedded := embedded_size(pool.storage)):
        rows, dimension = embedded[0], dimension or embedded[1]
    if rows is None:
        say(console, "to check the sizes of levels and targets before the pool is embedded, pass --rows N")
        return
    _show_plan(console, spec, rows, dimension or _TYPICAL_DIMENSION)


def _require_used(home: Home, path: Path) -> None:
    """Files in the folder of the pools may be sound, and yet not be read, or have the name of another pool."""
    if path.resolve().parent != home.pools_folder.resolve():
        return
    pools = pools_of(home)
    hidden = "is not read as a pool: its name begins with a dot" if path.name.startswith(".") else None
    if why := hidden or pools.left_out.get(path.name):
        raise PoolSpecError(f"{path} {why}")
    for broken in pools.broken.values():
        if broken.path.name == path.name:
            raise PoolSpecError(broken.message)


def _show_plan(console: Console, spec: PoolSpec, rows: int, dimension: int) -> None:
    from curation_assets.algorithms.costs.model import Workload, plan_cost

    spec.require_feasible(rows)
    levels = level_specs(spec, rows)
    sheet = Sheet(
        ("level", "inputs", "clusters", "resampling steps", "kept per cluster"),
        title=f"{spec.name}: plan for {rows:,} samples of {dimension:,} dimensions",
    )
    n_inputs = spec.n_rows_of_fit(rows)
    for t, level in enumerate(levels, start=1):
        steps = level.steps_at(t)
        kept = f"{level.kept_per_cluster(n_inputs):,}" if steps else "-"
        sheet.add(str(t), f"{n_inputs:,}", f"{level.n_clusters:,}", str(steps), kept)
        n_inputs = level.n_clusters
    sheet.show(console)
    if len(levels) < spec.n_levels:
        say(console, dropped_line(len(levels) + 1, spec.n_levels, why_dropped(levels)), "yellow")
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
    say(
        console,
        f"about {plan.distances:.2g} distance computations ({flops:.2g} FLOP); embeddings take "
        f"{plan.disk.embeddings / 1e9:,.2f} GB on disk; the largest fit takes {plan.worker_bytes / 1e9:,.2f} GB of "
        f"memory and {'holds its rows there' if in_memory else 'reads its rows from disk in every pass'}; "
        f"`curation-assets plan` shows the time of every stage",
    )
    if any(level.fixed_bytes > spec.memory_budget for level in plan.memory):
        budget = f"memory_budget = {spec.memory_budget / 1e9:,.2f} GB"
        remedy = "raise memory_budget, or set fit_rows or n_coarse_clusters"
        say(console, f"a fit needs more than {budget}: {remedy}", "red")
    for target in spec.targets:
        size = f"{target.resolve(rows):,} samples" if target.tokens is None else f"{target.tokens:,} tokens"
        say(console, f"target {target.name}: {size}, {target.strategy}")
