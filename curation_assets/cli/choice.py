"""The steps and shards that options name; combinations that would mix clusters are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from curation_assets.errors import PoolSpecError
from curation_assets.graph.base import Step
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.relations import ancestors, descendants, fit_steps, ingest_steps, shard_steps

if TYPE_CHECKING:
    import dagster as dg

    from curation_assets.pools import PoolSpec

_RUNS_SEARCHED = 200


def find_step(steps: Mapping[str, Step], option: str, name: str, *, last: bool = False) -> str:
    """A step by its name, or the first (or last) one of a level.

    Raises:
        PoolSpecError: with the option, its value and all steps.
    """
    ends = ("", "_assign") if last else ("", "_initial", "_clusters")
    for candidate in (name + end for end in ends):
        if candidate in steps:
            return candidate
    levels = sorted({f"level_{step.level}" for step in steps.values() if step.fits_tree})
    raise PoolSpecError(f"{option} {name}: no such step; there are: {', '.join([*levels, *steps])}")


def steps_between(steps: Mapping[str, Step], first: str, last: str | None) -> list[str]:
    """Steps from `first` to `last` (all that follow if None), in topological order.

    Raises:
        PoolSpecError: if `last` does not come after `first`.
    """
    reached = descendants(steps, first)
    if last is None:
        return reached
    wanted = set(ancestors(steps, last))
    names = [name for name in reached if name in wanted]
    if not names:
        raise PoolSpecError(
            f"--to {last} does not come after --from {first}: choose one of {', '.join(reached)}"
        )
    return names


def steps_of_shards(freshness: Freshness, first: str, last: str | None) -> list[str]:
    """Steps from `first` to `last` that can run for some shards without the others.

    Without `last`, ingestion ends with the assignment to the current tree.

    Raises:
        PoolSpecError: if the steps include one that reads every shard.
    """
    steps = freshness.steps
    fits_stand = not any(freshness.reason(name, None) for name in fit_steps(steps))
    if not steps[first].partitioned or (last and not steps[last].partitioned):
        step = first if not steps[first].partitioned else last
        raise PoolSpecError(
            f"{step} reads every shard, so running it for chosen shards would mix clusters of an old and a new fit, or "
            f"draw from a part of the pool. Run it for all shards, or choose among the steps "
            f"{', '.join(name for name in steps if steps[name].partitioned)}"
        )
    names = [name for name in steps_between(steps, first, last) if steps[name].partitioned]
    if last is None:
        # The selection and the steps after it depend on the whole pool.
        names = [name for name in names if name in ingest_steps(steps) or name == first]
    needs_tree = [name for name in names if steps[name].level and name in shard_steps(steps)]
    if needs_tree and not fits_stand:
        if last or first in needs_tree:
            raise PoolSpecError(
                f"the tree is out of date, so running {needs_tree[0]} for chosen shards would mix clusters of an old "
                f"and a new fit. Update the tree first with `curation-assets run`"
            )
        names = [name for name in names if name not in needs_tree]
    return names


def shards_named(every: Sequence[str], text: str) -> list[str]:
    """Shards of `a,b` or `a..b`, in canonical order.

    Args:
        every: keys of all shards, in canonical order.
        text: keys separated by commas; `a..b` stands for all from a to b. A key that has commas or dots itself is
            named alone.

    Raises:
        PoolSpecError: if a shard does not exist, with the range of those that do.
    """
    if text in every:
        return [text]
    chosen: set[str] = set()
    for part in (part.strip() for part in text.split(",")):
        first, dots, last = (part, "", "") if part in every else part.partition("..")
        for key in (first, last) if dots else (part,):
            if key not in every:
                known = f"{len(every)}: {every[0]} to {every[-1]}" if every else "none yet"
                close = get_close_matches(key, every)
                hint = f"; similar: {', '.join(close)}" if close else ""
                raise PoolSpecError(f"--shards {key}: no such shard; there are {known}{hint}")
        if dots:
            chosen.update(key for key in every if first <= key <= last)
        else:
            chosen.add(part)
    if not chosen:
        raise PoolSpecError(f"--shards {text}: no shard is chosen, because the range ends before it begins")
    return [key for key in every if key in chosen]


def missing_shards(freshness: Freshness, names: Sequence[str]) -> list[str]:
    """Shards without a complete output of at least one of the named steps."""
    return [key for key in freshness.shards if any(freshness.facts(name, key) is None for name in names)]


def failed_shards(
    instance: dg.DagsterInstance, spec: PoolSpec, freshness: Freshness, names: Sequence[str]
) -> list[str]:
    """Shards that failed in a recent run and for which one of the named steps is still out of date."""
    import dagster as dg

    from curation_assets.defs.keys import pool_tag
    from curation_assets.defs.run.tags import POOL_TAG

    failed: set[str] = set()
    filters = dg.RunsFilter(tags={POOL_TAG: pool_tag(spec)}, statuses=[dg.DagsterRunStatus.FAILURE])
    for run in instance.get_runs(filters, limit=_RUNS_SEARCHED):
        for record in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
            event = record.dagster_event
            details = event.step_failure_data.user_failure_data if event else None
            if details and "failed_shards" in details.metadata:
                failed.update(details.metadata["failed_shards"].value)  # type: ignore[arg-type]
    outdated = freshness.outdated()
    late = {key for name in names for key in outdated.get(name, {})}
    return [key for key in freshness.shards if key in failed & late]
