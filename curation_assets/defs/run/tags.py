"""Tags that tell a run what to do, and people why it ran."""

from __future__ import annotations

from collections.abc import Mapping

from curation_assets.defs.run.dead_runs import PROCESS_TAG, process_name
from curation_assets.graph.freshness import Again
from curation_assets.storage.outputs import timestamp

POOL_TAG = "curation/pool"
REASON_TAG = "curation/reason"
# Stored with every run of a job: its value stays.
FORCED_TAG = "curation/again"
"""Steps that a run rebuilds even if they are up to date: a timestamp, then their names, separated by spaces."""
THIS_RUN = "this-run"
"""In place of the timestamp: the time at which the run was created."""
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
_LONGEST_REASON = 500


def run_tags(
    pool: str,
    block: tuple[str, str] | None,
    *,
    reason: str,
    forced: Again | None = None,
    in_this_process: bool = True,
) -> dict[str, str]:
    """Tags of one run.

    Args:
        pool: its pool.
        block: first and last shard, for partitioned steps.
        reason: why it runs.
        forced: steps to rebuild even if they are up to date.
        in_this_process: whether this process executes the run, so that the run ends with it.
    """
    tags = {POOL_TAG: pool, REASON_TAG: reason[:_LONGEST_REASON]}
    if in_this_process:
        tags[PROCESS_TAG] = process_name()
    if block:
        tags |= {RANGE_START_TAG: block[0], RANGE_END_TAG: block[1]}
    if forced:
        tags[FORCED_TAG] = forced_text(forced)
    return tags


def forced_text(forced: Again) -> str:
    """The value of FORCED_TAG; `forced_of` reads it."""
    return " ".join([forced.since, *sorted(forced.steps)])


def forced_of(tags: Mapping[str, str], created: float = 0.0) -> Again | None:
    """The steps that a run is to rebuild even if they are up to date.

    Args:
        tags: of the run.
        created: Unix time at which the run was created.
    """
    since, *names = tags.get(FORCED_TAG, "").split() or [""]
    if since == THIS_RUN:
        since = timestamp(created)
    return Again(frozenset(names), since) if names else None
