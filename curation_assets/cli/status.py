"""`curation-assets status`: what is up to date, and what is not and why."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table

from curation_assets.cli.project import find_spec, open_home
from curation_assets.freshness import Freshness
from curation_assets.lineage import pool_steps
from curation_assets.pools import PoolSpec, load_pool_specs
from curation_assets.storage.pool_storage import PoolStorage


def show_status(pool: str | None) -> None:
    """Print one table per pool."""
    home = open_home()
    specs = [find_spec(home, pool)] if pool else list(load_pool_specs(home.pools_folder).values())
    console = Console()
    if not specs:
        console.print(
            f"no pools in {home.pools_folder}: add a YAML file, see pools/examples", highlight=False
        )
    for spec in specs:
        console.print(_status_table(spec, PoolStorage(home.storage_root, spec.name)))


def _status_table(spec: PoolSpec, storage: PoolStorage) -> Table:
    shards = storage.shards()
    freshness = Freshness(storage, pool_steps(spec), shards)
    outdated = freshness.outdated()
    table = Table(title=f"{spec.name}: {len(shards)} shards", title_justify="left")
    for column, justify in (("asset", "left"), ("up to date", "right"), ("why not", "left")):
        table.add_column(column, justify="right" if justify == "right" else "left")
    for step in freshness.steps.values():
        n_outputs = len(freshness.keys_of(step))
        reasons = Counter(outdated.get(step.name, {}).values())
        n_fresh = n_outputs - sum(reasons.values())
        why = "; ".join(
            f"{reason} ({count})" if step.partitioned else reason for reason, count in reasons.items()
        )
        if not n_outputs:
            why = "no shards listed yet: run it"
        style = "green" if n_outputs and not reasons else "yellow"
        table.add_row(step.name, f"[{style}]{n_fresh}/{n_outputs}[/]", why)
    return table
