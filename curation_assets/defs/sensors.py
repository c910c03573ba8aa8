"""A sensor per pool: new, changed and deleted shards lead to the runs that bring the curation up to date."""

import time

import dagster as dg

from curation_assets.defs.jobs import Job
from curation_assets.defs.run.job_names import curate_job
from curation_assets.defs.sources import observations
from curation_assets.defs.watch import Cursor, Watcher
from curation_assets.pools import PoolSpec
from curation_assets.project import Home, is_in_folder, why_not_current


def sensor_name(pool: str) -> str:
    """Name of a pool's sensor."""
    return f"{pool}_arrivals"


def build_sensor(spec: PoolSpec, home: Home, jobs: list[Job]) -> dg.SensorDefinition:
    """The sensor of one pool, off by default."""
    in_folder = is_in_folder(home, spec)

    @dg.sensor(
        name=sensor_name(spec.name),
        jobs=[job for job in jobs if job.name == curate_job(spec.name)],
        minimum_interval_seconds=spec.watch.interval_seconds,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Watches the files of the pool '{spec.name}'. Takes in new and changed shards once they "
        f"are complete, drops deleted shards from the selection, and refits the tree if it has drifted. Every tick "
        f"ends in one run of {curate_job(spec.name)}, which does all that is due, or in the reason for none.",
    )
    def arrivals(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        # Runs read the YAML as it is now: with other settings than theirs, what they made would look out of date.
        if in_folder and (why := why_not_current(home, spec)):
            return dg.SkipReason(why)
        work_file = home.dagster_state / "arrivals" / f"{spec.name}.json"
        cursor = Cursor.read(context.cursor, work_file)
        watcher = Watcher(spec, home, context.instance, cursor)
        look = watcher.look(time.time())
        context.log.info(look.summary)
        seen = observations(spec, watcher.seen, cursor.observed)
        if seen:
            cursor.observed |= {name: files.digest for name, files in watcher.seen.items()}
        context.update_cursor(cursor.text(work_file))
        if look.request is not None:
            return dg.SensorResult(run_requests=[look.request], asset_events=seen)
        if seen:
            return dg.SensorResult(skip_reason=look.summary, asset_events=seen)
        return dg.SkipReason(look.summary)

    return arrivals
