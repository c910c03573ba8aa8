"""Whether a step may run: not while something that it reads is out of date, since that would mix two states."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from curation_assets.graph.base import Step
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.relations import fit_steps

Passed = dict[str, set[str | None]]
"""Step -> outputs that are known to be up to date, with everything upstream of them."""


@dataclass(frozen=True, slots=True)
class StaleInput:
    """Something out of date that an output would be made from."""

    name: str
    """The input, or the step that must run first."""
    origin: str
    """The step at which it starts: itself, or one upstream of it."""
    reason: str
    """Why the origin is out of date."""
    shard: str | None
    """Of the origin; None for a step with one output."""


def stale_inputs(
    freshness: Freshness, name: str, keys: Collection[str | None], passed: Passed
) -> dict[str | None, StaleInput]:
    """The first stale input of each output of a step that has one.

    Args:
        freshness: what is up to date now.
        name: the step.
        keys: its outputs to judge: shards, or None.
        passed: outputs that need not be judged again; what is found to be up to date is added.
    """
    steps = freshness.steps
    step = steps[name]
    # A fit of level 1 that is made again takes all present rows. Otherwise those that it was made of stand.
    takes_all_rows = (
        name in fit_steps(steps, 1)[:1]
        and freshness.reason(name, None) is not None
        and not freshness.is_merely_lost(name, None)
    )
    needed = _needed(freshness, step, keys, takes_all_rows, passed)
    found = freshness.outdated(needed)
    for source, judged in needed.items():
        passed.setdefault(source, set()).update(judged.difference(found.get(source, ())))
    stale: dict[str | None, StaleInput] = {}
    for key in keys if found else ():
        inputs = freshness.outdated_inputs(step, key, found)
        if takes_all_rows and freshness.rows_step in found:
            inputs = [freshness.rows_step]
        inputs += [other for other in step.after if other in found]
        if inputs:
            stale[key] = _traced(freshness, inputs[0], key, found)
    return stale


def first_stale(freshness: Freshness, name: str) -> StaleInput | None:
    """Where it starts that a step is out of date, in any of its outputs; None if it is up to date."""
    step = freshness.steps[name]
    needed = _needed(freshness, step, freshness.keys_of(step), takes_all_rows=False, passed={})
    needed[name] = set(freshness.keys_of(step))
    found = freshness.outdated(needed)
    return _traced(freshness, name, next(iter(found[name])), found) if name in found else None


def _needed(
    freshness: Freshness, step: Step, keys: Collection[str | None], takes_all_rows: bool, passed: Passed
) -> dict[str, set[str | None]]:
    """Everything upstream of some outputs of a step, without what is known to be up to date."""
    steps = freshness.steps
    needed: dict[str, set[str | None]] = {step.name: set(keys)}
    for name in reversed(list(steps)):
        if name not in needed:
            continue
        after = steps[name]
        for source in (*after.inputs, *(after.after if name == step.name else ())):
            is_spared = (
                after.on_fit_rows and source == freshness.rows_step and freshness.fit_rows() is not None
            )
            if is_spared and not (takes_all_rows and name == step.name):
                continue
            both = steps[source].partitioned and after.partitioned
            wanted = needed[name] if both else set(freshness.keys_of(steps[source]))
            if left := wanted.difference(passed.get(source, ())):
                needed.setdefault(source, set()).update(left)
    del needed[step.name]
    return needed


def _traced(
    freshness: Freshness, name: str, key: str | None, found: Mapping[str, Mapping[str | None, str]]
) -> StaleInput:
    """Follow what is out of date upstream to where it starts."""
    origin = name
    while True:
        reasons = found[origin]
        key = key if key in reasons else next(iter(reasons))
        upstream = freshness.outdated_inputs(freshness.steps[origin], key, found)
        if not upstream:
            return StaleInput(name, origin, reasons[key], key)
        origin = upstream[0]
