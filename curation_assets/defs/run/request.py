"""What a run asks for, looked at before anything is made: its partitions, and the steps to make again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import dagster as dg

from curation_assets.defs.run.job_names import curate_job
from curation_assets.defs.run.tags import FORCED_TAG, RANGE_END_TAG, RANGE_START_TAG, THIS_RUN
from curation_assets.errors import PoolSpecError, StaleInputError
from curation_assets.graph.base import ExtraInput, Step
from curation_assets.storage.pool_storage import PoolStorage


def require_sound_request(
    context: dg.AssetExecutionContext, storage: PoolStorage, step: Step, steps: Collection[str]
) -> None:
    """Refuse a run that would make nothing, or not what it asks for, and end green.

    Args:
        context: of the step's asset.
        storage: of the pool.
        step: to be run.
        steps: names of all steps of the pool.

    Raises:
        PoolSpecError: if the step has a partition for each shard and the run names none, or one that does not exist; or
            if the tag `curation/again` names no step.
        StaleInputError: if the files of the pool have never been listed, and the step does not list them.
    """
    pool = storage.pool
    remedy = f"run the job {curate_job(pool)} or `curation-assets run --pool {pool}`"
    if ExtraInput.SHARD_FILES not in step.extra_inputs and not storage.all_shards():
        raise StaleInputError(f"the files of pool '{pool}' have not been listed yet: {remedy}")
    if step.partitioned:
        _require_partitions(
            context, step.name, f"choose partitions that exist in the launch dialog, or {remedy}"
        )
    _require_known_steps(context.run.tags, steps)


def _require_partitions(context: dg.AssetExecutionContext, name: str, remedy: str) -> None:
    tags = context.run.tags
    chosen = " to ".join(filter(None, (tags.get(RANGE_START_TAG), tags.get(RANGE_END_TAG))))
    try:
        keys = context.partition_keys
    except dg.DagsterError as error:
        which = chosen or tags.get("dagster/partition")
        what = (
            f"the run asks for {which}, and not all of it is a shard of the pool"
            if which
            else "the run names none"
        )
        raise PoolSpecError(f"{name} has a partition for each shard; {what}: {remedy}") from error
    if not keys:
        raise PoolSpecError(f"{name}: the range of partitions {chosen} is empty: {remedy}")


def _require_known_steps(tags: Mapping[str, str], steps: Collection[str]) -> None:
    if FORCED_TAG not in tags:
        return
    since, *names = tags[FORCED_TAG].split() or [""]
    unknown = [name for name in names if name not in steps]
    if names and not unknown and (since == THIS_RUN or _is_time(since)):
        return
    wrong = f"{unknown[0]} is not a step of the pool" if unknown else "it names no step"
    if names and not unknown:
        wrong = f"'{since}' is not a time"
    raise PoolSpecError(
        f"the tag {FORCED_TAG} is '{tags[FORCED_TAG]}', but {wrong}: write `{THIS_RUN}` and then the steps to make "
        f"again, separated by spaces"
    )


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
