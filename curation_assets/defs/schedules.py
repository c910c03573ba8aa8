"""Schedules: a nightly curation, off by default, and the refit at set times that a pool's policy asks for."""

import dagster as dg

from curation_assets.defs.jobs import curate_job, recluster_job
from curation_assets.defs.partitions import partitions_name
from curation_assets.defs.run.tags import RANGE_END_TAG, RANGE_START_TAG, REASON_TAG
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.project import Home
from curation_assets.storage.pool_storage import PoolStorage


def build_schedules(spec: PoolSpec, home: Home) -> list[dg.ScheduleDefinition]:
    """The schedules of one pool.

    Args:
        spec: the pool.
        home: of the project.
    """
    nightly = dg.ScheduleDefinition(
        name=f"{spec.name}_nightly",
        job_name=curate_job(spec.name),
        cron_schedule=spec.watch.nightly,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Brings the pool up to date at night, for pools whose sensor is off.",
    )
    return [nightly, *([_refit(spec, home)] if spec.refit.schedule else [])]


def _refit(spec: PoolSpec, home: Home) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{spec.name}_refit",
        job_name=recluster_job(spec.name, 1),
        cron_schedule=spec.refit.schedule or "",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Fits the tree again on all rows, if any came or went since the last fit.",
    )
    def refit(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        storage = PoolStorage(home.storage_root, spec.name)
        freshness = Freshness(storage, pool_steps(spec), storage.shards())
        rows, chosen = freshness.all_rows("the schedule's time has come"), storage.fit_rows()
        if rows is None:
            return dg.SkipReason("a shard is not embedded yet: run the pool first")
        if chosen and chosen.digest == rows.digest:
            return dg.SkipReason("no row came or went since the last fit")
        ordered = context.instance.get_dynamic_partitions(partitions_name(spec.name))
        return dg.RunRequest(
            tags={
                RANGE_START_TAG: ordered[0],
                RANGE_END_TAG: ordered[-1],
                REASON_TAG: f"scheduled refit on {rows.n_rows:,} rows",
            }
        )

    return refit
