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
    """The steps that the graph view draws an edge from: inputs that none of the other inputs depends on.

    Edges between partitioned steps are all drawn (`shard_sources`): they order the steps of one run.
    """
    step = steps[name]
    inputs = (*step.inputs, *step.after)
    kept = {
        source
        for source in inputs
        if not any(other != source and source in _upstream(steps, other) for other in inputs)
    }
    kept |= set(shard_sources(steps, name))
    return [source for source in steps if source in kept]


def shard_sources(steps: Mapping[str, Step], name: str) -> list[str]:
    """The partitioned steps that a partitioned step follows: those it reads, and the nearest of its other ancestors.

    Dagster spreads the chosen partitions of an asset backfill from partitioned asset to partitioned asset only. It
    silently leaves out what it does not reach this way. So wherever a partitioned step follows another one, by way
    of steps of the whole pool, there is also a path of partitioned steps.
    """
    if not steps[name].partitioned:
        return []
    sources = [source for source in steps[name].inputs if steps[source].partitioned]
    reached = {other for source in sources for other in (source, *_upstream(steps, source))}
    upstream = _upstream(steps, name)
    for other in reversed(list(steps)):
        if steps[other].partitioned and other in upstream - reached:
            sources.append(other)
            # Each of these has a partitioned path to `other`, by the same rule.
            reached |= {other, *_upstream(steps, other)}
    return sources


def _upstream(steps: Mapping[str, Step], last: str) -> set[str]:
    """Everything that runs before a step: its inputs and the steps it comes after, and theirs."""
    reached: set[str] = set()
    waiting = [last]
    while waiting:
        step = steps[waiting.pop()]
        for source in (*step.inputs, *step.after):
            if source not in reached:
                reached.add(source)
                waiting.append(source)
    return reached
