"""`curation-assets status`: what is up to date, and why the rest is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.markup import escape

from curation_assets.cli.tables import Sheet
from curation_assets.cli.terminal import say
from curation_assets.graph.base import Step
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.refit import due_refit
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.project import open_home, pools_of
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.damage import damage_lines, set_aside_lines
from curation_assets.steps.listing import look_at_files
from curation_assets.steps.tree.levels import level_lines
from curation_assets.storage.pool_storage import PoolStorage

_SHARDS_NAMED = 3
_MOST_FILES_LISTED = 200_000
"""Of the last listing: more of them are listed only on demand."""


def show_status(pool: str | None, *, list_files: bool | None = None) -> None:
    """Print one table per pool, what a look at its files found, and the state of its tree.

    Args:
        pool: name of the pool; None shows all, broken ones too.
        list_files: whether to list the files; None lists pools of up to 200,000 files.

    Raises:
        PoolSpecError: if the named pool does not exist or is broken.
    """
    home = open_home()
    pools = pools_of(home)
    specs = [pools.find(pool)] if pool else list(pools.specs.values())
    console = Console()
    if not specs and not pools.broken:
        say(
            console,
            f"no pools in {home.pools_folder}: add a YAML file, or let `curation-assets init` write one",
        )
    for spec in specs:
        storage = home.storage(spec.name)
        access = PoolAccess(spec, storage, str(home.folder))
        look = look_at_files(access, _why_not_listed(storage, list_files))
        shards = [shard for shard in look.change.shards if not shard.set_aside]
        freshness = Freshness(storage, pool_steps(spec), shards)
        _status_sheet(spec, freshness).show(console)
        for line in look.lines():
            say(console, line, style="yellow")
        for line in damage_lines(spec, storage):
            say(console, line)
        for line in tree_lines(storage, freshness):
            say(console, line)
    for problem in () if pool else pools.problems():
        say(console, problem, "red")


def _why_not_listed(storage: PoolStorage, list_files: bool | None) -> str:
    if list_files is None:
        n_files = sum(len(shard.files) for shard in storage.all_shards())
        many = f"there are {n_files:,} of them, and --listing was not given"
        return many if n_files > _MOST_FILES_LISTED else ""
    return "" if list_files else "--no-listing was given"


def _status_sheet(spec: PoolSpec, freshness: Freshness) -> Sheet:
    outdated = freshness.outdated()
    sheet = Sheet(
        ("asset", "up to date", "why out of date"),
        title=f"{spec.name}: {len(freshness.shards)} shards",
        texts=("asset", "why out of date"),
    )
    for step in freshness.steps.values():
        n_outputs = len(freshness.keys_of(step))
        reasons = outdated.get(step.name, {})
        why = why_not(step, reasons, n_outputs) if n_outputs else "no shards; run the pool"
        style = "green" if n_outputs and not reasons else "yellow"
        sheet.add(step.name, f"[{style}]{n_outputs - len(reasons)}/{n_outputs}[/]", escape(why))
    return sheet


def why_not(step: Step, reasons: Mapping[str | None, str], n_outputs: int) -> str:
    """Why outputs of a step are out of date; a reason names its shards unless it applies to all."""
    shards_of: dict[str, list[str]] = {}
    for key, reason in reasons.items():
        shards_of.setdefault(reason, []).append(str(key))
    if not step.partitioned:
        return "; ".join(shards_of)
    parts = []
    for reason, keys in shards_of.items():
        if len(keys) == n_outputs:
            parts.append(reason)
            continue
        named = ", ".join(keys[:_SHARDS_NAMED])
        more = f" and {len(keys) - _SHARDS_NAMED} more" if len(keys) > _SHARDS_NAMED else ""
        parts.append(f"{reason} ({named}{more})")
    return "; ".join(parts)


def tree_lines(storage: PoolStorage, freshness: Freshness) -> Iterator[str]:
    """The state of the tree: version, rows, drift of the rows added since the fit, and shards left out."""
    rows, tree = freshness.fit_rows(), freshness.facts("tree", None)
    if rows and tree:
        yield (
            f"tree {tree.summary['tree_version']}: fitted on {rows.n_rows:,} rows of {len(rows.shards)} shards "
            f"({rows.reason}, {rows.decided_at})"
        )
        yield from level_lines(tree.summary.get("levels", ()))
    drift = freshness.facts("drift", None)
    if rows and drift:
        summary = drift.summary
        yield (
            f"drift: {summary['decision']}; since the fit {summary['new_rows']:,} rows were added "
            f"({summary['new_rows_share']:.1%}) and {summary['gone_rows']:,} removed; highest drift score "
            f"{summary['drift_score']:.2f}"
        )
        if reason := due_refit(freshness):
            yield f"a refit is due: {reason}"
    yield from set_aside_lines(storage)
