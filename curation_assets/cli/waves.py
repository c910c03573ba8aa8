"""Waves: steps that one in-process run can hold, because their partitions agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from curation_assets.lineage import Step


def waves(steps: Mapping[str, Step], names: Iterable[str]) -> list[list[str]]:
    """Split steps into consecutive runs; a wave ends where partitioned steps meet unpartitioned ones.

    Args:
        steps: all steps in topological order.
        names: those to run.

    Returns:
        Waves in order; inside a wave either every step is partitioned or none is.
    """
    wanted = set(names)
    wave_of: dict[str, int] = {}
    for name, step in steps.items():
        depths = [
            wave_of[source] + (steps[source].partitioned != step.partitioned)
            for source in step.inputs
            if source in wave_of
        ]
        wave_of[name] = max(depths, default=0 if step.partitioned else 1)
    found: dict[int, list[str]] = {}
    for name in steps:
        if name in wanted:
            found.setdefault(wave_of[name], []).append(name)
    return [found[number] for number in sorted(found)]


def contiguous_blocks(ordered: Sequence[str], wanted: Iterable[str]) -> list[tuple[str, str]]:
    """(first, last) of the runs of wanted partitions that are neighbours in Dagster's order of partitions."""
    chosen = set(wanted)
    blocks: list[tuple[str, str]] = []
    previous_wanted = False
    for key in ordered:
        if key in chosen:
            blocks = [*blocks[:-1], (blocks[-1][0], key)] if previous_wanted else [*blocks, (key, key)]
        previous_wanted = key in chosen
    return blocks
