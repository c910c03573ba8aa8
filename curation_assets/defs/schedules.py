"""Schedules: a nightly curation, off by default, and the periodic refit that a pool's policy may ask for."""

import dagster as dg

from curation_assets.defs.run.driver import Driver, PlannedRun
from curation_assets.defs.run.job_names import curate_job, recluster_job
from curation_assets.pools import PoolSpec
from curation_assets.project import Home, is_in_folder, why_not_current


def build_schedules(spec: PoolSpec, home: Home) -> list[dg.ScheduleDefinition]:
    """The schedules of one pool."""
    nightly = dg.ScheduleDefinition(
        name=f"{spec.name}_nightly",
        job_name=curate_job(spec.name),
        cron_schedule=spec.watch.nightly,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Brings the pool up to date every night. Meant for pools whose sensor is off.",
    )
    return [nightly, *([_refit(spec, home)] if spec.refit.schedule else [])]


def _refit(spec: PoolSpec, home: Home) -> dg.ScheduleDefinition:
    in_folder = is_in_folder(home, spec)

    @dg.schedule(
        name=f"{spec.name}_refit",
        job_name=recluster_job(spec.name, 1),
        cron_schedule=spec.refit.schedule or "",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Fits the tree again on all rows, if rows were added or removed since the last fit.",
    )
    def refit(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if in_folder and (why := why_not_current(home, spec)):
            return dg.SkipReason(why)
        driver = Driver(home, spec, context.instance)
        rows, fitted = driver.freshness().all_rows("the schedule's time has come"), driver.storage.fit_rows()
        if rows is None:
            return dg.SkipReason("some shards are not embedded yet: run the pool first")
        if fitted and fitted.digest == rows.digest:
            return dg.SkipReason("no rows were added or removed since the last fit")
        ordered = driver.ordered_shards()
        reason = f"scheduled refit on {rows.n_rows:,} rows"
        run = PlannedRun([], (ordered[0], ordered[-1]), reason)
        return dg.RunRequest(tags=driver.tags(run, in_this_process=False))

    return refit
