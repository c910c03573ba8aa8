"""Whether what a command shows is up to date, and what to do if not."""

from __future__ import annotations

from rich.console import Console

from curation_assets.cli.terminal import say
from curation_assets.errors import StaleInputError
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.storage.pool_storage import PoolStorage


def why_outdated(spec: PoolSpec, storage: PoolStorage, step: str) -> str | None:
    """Why the one output of a step is out of date; None if it is up to date.

    Raises:
        StaleInputError: if it was never made.
    """
    freshness = Freshness(storage, pool_steps(spec), storage.shards())
    if freshness.facts(step, None) is None:
        raise StaleInputError(
            f"pool '{spec.name}' has no {step} yet: make it with `curation-assets run --pool {spec.name}`"
        )
    return freshness.outdated().get(step, {}).get(None)


def say_if_outdated(console: Console, spec: PoolSpec, step: str, reason: str | None) -> None:
    """Warn that what follows is out of date."""
    if reason is not None:
        remedy = f"curation-assets run --pool {spec.name}"
        say(console, f"this {step} is out of date ({reason}): update it with `{remedy}`", style="yellow")
