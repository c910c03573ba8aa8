"""What to run next: waves of steps that fit into one run because their partitions agree.

The command line and the sensor follow the same plan. It is computed again after every wave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from curation_assets.graph.base import Step
from curation_assets.graph.freshness import Freshness

_REASONS_SHOWN = 3
MOST_RUNS_OF_A_WAVE = 16
"""The most runs that a wave is split into; starting more costs more than skipping the shards in between."""


@dataclass(frozen=True, slots=True)
class Wave:
    """Outputs that can be made together, each with its reason; either every step is partitioned or none is."""

    outputs: Mapping[str, Mapping[str | None, str]]
    """Step -> shard (None for an unpartitioned step) -> why it is out of date."""
    partitioned: bool

    @property
    def shards(self) -> set[str]:
        """Shards of all its steps."""
        return {key for outputs in self.outputs.values() for key in outputs if key is not None}

    @property
    def summary(self) -> str:
        """Why its first step is out of date, for people."""
        return self.summary_of(None)

    def summary_of(self, shards: Collection[str] | None) -> str:
        """The same for some of its shards (all if None), the most frequent reasons first."""
        first = next(iter(self.outputs.values()))
        chosen = [reason for key, reason in first.items() if shards is None or key in shards]
        reasons = Counter(chosen or first.values()).most_common(_REASONS_SHOWN)
        return "; ".join(f"{reason} ({count})" if self.partitioned else reason for reason, count in reasons)


def next_wave(
    freshness: Freshness, names: Collection[str] | None = None, shards: Collection[str] | None = None
) -> Wave | None:
    """The first wave with something out of date, None if there is nothing to do.

    Considers only the named steps and shards, or all of them if None.
    """
    steps, outdated = freshness.steps, freshness.outdated()
    found: dict[str, dict[str | None, str]] = {}
    for wave in waves(steps, steps if names is None else names):
        here = {
            name: chosen
            for name in wave
            if (
                chosen := {
                    key: reason
                    for key, reason in outdated.get(name, {}).items()
                    if key is None or shards is None or key in shards
                }
            )
        }
        if not here:
            continue
        # Ingestion and assignment to a tree that stands go together, as nothing runs in between.
        # Unpartitioned waves stay apart: the graph leaves out the edges that would order their steps in one run.
        if found and not all(steps[name].partitioned for name in (*found, *here)):
            break
        found |= here
    if not found:
        return None
    return Wave(found, steps[next(iter(found))].partitioned)


def waves(steps: Mapping[str, Step], names: Iterable[str]) -> list[list[str]]:
    """Split the named steps into consecutive runs; a wave ends where partitioned steps meet unpartitioned ones.

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
        # A separate wave, so that the driver can look at the results of the earlier steps first.
        depths += [wave_of[source] + 2 for source in step.after if source in wave_of]
        wave_of[name] = max(depths, default=0 if step.partitioned else 1)
    found: dict[int, list[str]] = {}
    for name in steps:
        if name in wanted:
            found.setdefault(wave_of[name], []).append(name)
    return [found[number] for number in sorted(found)]


def contiguous_blocks(
    ordered: Sequence[str], wanted: Iterable[str], most: int | None = None
) -> list[tuple[str, str]]:
    """(first, last) of each block of wanted partitions that are neighbours in Dagster's order.

    Args:
        ordered: all partitions.
        wanted: those to cover.
        most: the most blocks; blocks with the smallest gaps between them are joined. The partitions in the gaps
            are up to date and are skipped, which costs less than another run.
    """
    position = {key: i for i, key in enumerate(ordered)}
    places = sorted(position[key] for key in set(wanted) if key in position)
    if not places:
        return []
    gaps = [
        (right - left - 1, i) for i, (left, right) in enumerate(pairwise(places), start=1) if right - left > 1
    ]
    kept = gaps if most is None else sorted(gaps, key=lambda gap: (-gap[0], gap[1]))[: most - 1]
    starts = sorted({0, *(i for _, i in kept)})
    stops = [*starts[1:], len(places)]
    return [(ordered[places[a]], ordered[places[b - 1]]) for a, b in zip(starts, stops, strict=True)]
