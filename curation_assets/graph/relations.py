"""How the steps of a pool relate: what follows what, which take in a shard, which fit the tree."""

from __future__ import annotations

from collections.abc import Mapping

from curation_assets.graph.base import Step


def descendants(steps: Mapping[str, Step], first: str) -> list[str]:
    """A step and everything downstream of it, in topological order."""
    reached = {first}
    for step in steps.values():
        if reached & set(step.inputs):
            reached.add(step.name)
    return [name for name in steps if name in reached]


def descendants_to_force(steps: Mapping[str, Step], first: str) -> list[str]:
    """The steps to rebuild when one is forced: the step, and its descendants that are forced with it."""
    return [name for name in descendants(steps, first) if name == first or steps[name].forced_with_ancestors]


def ancestors(steps: Mapping[str, Step], last: str) -> list[str]:
    """A step and everything upstream of it, in topological order."""
    reached = {last}
    for step in reversed(list(steps.values())):
        if step.name in reached:
            reached |= set(step.inputs)
    return [name for name in steps if name in reached]


def ingest_steps(steps: Mapping[str, Step]) -> list[str]:
    """Steps that take in a shard without the others: from its files to its clusters in the current tree."""
    waiting: set[str] = set()
    for name, step in steps.items():
        needs_all = any(source in waiting or _reads_all_shards(steps, source) for source in step.inputs)
        # A fit looks at all shards once; then the tree stands, and a new shard does not wait for it.
        if needs_all and not step.fits_tree:
            waiting.add(name)
    return [name for name, step in steps.items() if step.partitioned and name not in waiting]


def _reads_all_shards(steps: Mapping[str, Step], name: str) -> bool:
    """Whether a step has one output made of all present shards."""
    step = steps[name]
    if step.partitioned or step.fits_tree:
        return False
    return any(steps[source].partitioned for source in step.inputs)


def shard_steps(steps: Mapping[str, Step]) -> list[str]:
    """All partitioned steps before the draw."""
    drawn = {after for name, step in steps.items() if step.draws for after in descendants(steps, name)}
    return [name for name, step in steps.items() if step.partitioned and name not in drawn]


def fit_steps(steps: Mapping[str, Step], level: int | None = None) -> list[str]:
    """The steps that fit the tree (one level of it, or all), in topological order."""
    return [name for name, step in steps.items() if step.fits_tree and level in (None, step.level)]


def rows_step(steps: Mapping[str, Step]) -> str:
    """The step whose rows the tree is fitted on and drawn from; empty if there is none."""
    return next((name for name, step in steps.items() if step.gives_fit_rows), "")


def direct_inputs(steps: Mapping[str, Step], name: str) -> list[str]:
    """Inputs of a step that none of its other inputs depends on: the edges that the graph view needs.

    Embeddings and their assignment are joined through the tree, which does not run between them. The direct edge
    is drawn too: it orders the two when one run holds both.
    """
    step = steps[name]
    inputs = (*step.inputs, *step.after)
    path = {other: s for other, s in steps.items() if not (step.partitioned and s.on_fit_rows)}
    return [
        source
        for source in inputs
        if not any(other != source and source in _upstream(path, steps, other) for other in inputs)
    ]


def _upstream(path: Mapping[str, Step], steps: Mapping[str, Step], last: str) -> set[str]:
    """Everything a step depends on through the steps of `path`."""
    reached: set[str] = set()
    waiting = [last]
    while waiting:
        step = waiting.pop()
        if step not in path:
            continue
        for source in (*steps[step].inputs, *steps[step].after):
            if source not in reached:
                reached.add(source)
                waiting.append(source)
    return reached
