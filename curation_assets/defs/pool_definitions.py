"""All definitions of pools."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from curation_assets.defs.assets import build_assets
from curation_assets.defs.broken_pools import build_broken_pool
from curation_assets.defs.checks import build_checks
from curation_assets.defs.io_managers import HandleIOManager
from curation_assets.defs.jobs import Job, build_jobs
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.executors import chosen_executor
from curation_assets.defs.schedules import build_schedules
from curation_assets.defs.sensors import build_sensor
from curation_assets.pools import BrokenPool, PoolSpec
from curation_assets.project import Home


def build_definitions(specs: list[PoolSpec], home: Home, broken: Iterable[BrokenPool] = ()) -> dg.Definitions:
    """Definitions of several pools side by side; of broken ones, the asset that says what is wrong."""
    assets: list[dg.AssetsDefinition] = [build_broken_pool(pool) for pool in broken]
    checks: list[dg.AssetChecksDefinition] = []
    jobs: list[Job] = []
    sensors: list[dg.SensorDefinition] = []
    schedules: list[dg.ScheduleDefinition] = []
    for spec in specs:
        assets += build_assets(spec)
        checks += build_checks(spec)
        pool_jobs = build_jobs(spec, home, build_definitions)
        jobs += pool_jobs
        sensors.append(build_sensor(spec, home, pool_jobs))
        schedules += build_schedules(spec, home)
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=jobs,
        sensors=sensors,
        schedules=schedules,
        resources={
            "curation": CurationResource(home_folder=str(home.folder), storage_root=home.storage_root),
            "io_manager": HandleIOManager(storage_root=home.storage_root),
        },
        executor=chosen_executor(),
    )
