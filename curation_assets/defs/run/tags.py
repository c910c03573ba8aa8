"""Tags that tell a run what to do, and people why it ran."""

from __future__ import annotations

from collections.abc import Mapping

from curation_assets.graph.freshness import Forced
from curation_assets.storage.outputs import timestamp

POOL_TAG = "curation/pool"
REASON_TAG = "curation/reason"
PARENT_RUN_TAG = "curation/parent"
"""Id of the run that this one is a wave of."""
COMMAND_TAG = "curation/command"
"""The command line that started the waves."""
WAVE_TAG = "curation/wave"
"""Number of the wave, its first and its last step."""
STEPS_TAG = "curation/steps"
"""The first and last step that the waves may make."""
# Stored with every run of a job: its value stays.
FORCED_TAG = "curation/again"
"""Steps that a run rebuilds even if they are up to date: a timestamp, then their names, separated by spaces."""
THIS_RUN = "this-run"
"""In place of the timestamp: the time at which the run was created."""
PARENT_TAG = "dagster/parent_run_id"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


def forced_text(forced: Forced) -> str:
    """The value of FORCED_TAG; `forced_of` reads it."""
    return " ".join([forced.since, *sorted(forced.steps)])


def forced_of(tags: Mapping[str, str], created: float = 0.0) -> Forced | None:
    """The steps that a run created at this Unix time is to rebuild even if they are up to date."""
    since, *names = tags.get(FORCED_TAG, "").split() or [""]
    if since == THIS_RUN:
        since = timestamp(created)
    return Forced(frozenset(names), since) if names else None


def is_planned(tags: Mapping[str, str]) -> bool:
    """Whether the driver planned the run just now, so that it has listed the files; a re-execution was not."""
    return REASON_TAG in tags and PARENT_TAG not in tags
