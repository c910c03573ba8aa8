"""`curation-assets status`: what is up to date, and why the rest is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from curation_assets.cli.terminal import say
from curation_assets.graph.base import Step
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.refit import due_refit
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec, load_pool_specs
from curation_assets.project import find_spec, open_home
from curation_assets.steps.tree.levels import level_lines
from curation_assets.storage.pool_storage import PoolStorage

_SHARDS_NAMED = 3


def show_status(pool: str | None) -> None:
    """Print one table per pool, and the state of its tree."""
    home = open_home()
    specs = [find_spec(home, pool)] if pool else list(load_pool_specs(home.pools_folder).values())
    console = Console()
    if not specs:
        say(console, f"no pools in {home.pools_folder}: add a YAML file (see pools/examples)")
    for spec in specs:
        storage = home.storage(spec.name)
        freshness = Freshness(storage, pool_steps(spec), storage.shards())
        console.print(_status_table(spec, freshness))
        for line in tree_lines(storage, freshness):
            say(console, line)


def _status_table(spec: PoolSpec, freshness: Freshness) -> Table:
    outdated = freshness.outdated()
    table = Table(title=f"{spec.name}: {len(freshness.shards)} shards", title_justify="left")
    table.add_column("asset")
    table.add_column("up to date", justify="right")
    table.add_column("why out of date")
    for step in freshness.steps.values():
        n_outputs = len(freshness.keys_of(step))
        reasons = outdated.get(step.name, {})
        why = why_not(step, reasons, n_outputs) if n_outputs else "no shards listed yet; run the pool"
        style = "green" if n_outputs and not reasons else "yellow"
        table.add_row(step.name, f"[{style}]{n_outputs - len(reasons)}/{n_outputs}[/]", escape(why))
    return table


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
    for shard in storage.all_shards():
        if shard.set_aside:
            yield f"curated without shard {shard.key}: {shard.set_aside}"
