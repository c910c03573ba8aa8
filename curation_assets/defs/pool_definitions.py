"""All definitions of pools."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import dagster as dg

from curation_assets.defs.assets import build_assets
from curation_assets.defs.broken_pools import build_broken_pool
from curation_assets.defs.checks import build_checks
from curation_assets.defs.io_managers import IO_MANAGER_KEY, io_manager_of
from curation_assets.defs.jobs import Job, build_jobs
from curation_assets.defs.schedules import build_schedules
from curation_assets.defs.sensors import build_sensor
from curation_assets.defs.sources import build_sources
from curation_assets.pools import BrokenPool, PoolSpec
from curation_assets.project import Home


def build_definitions(
    specs: Sequence[PoolSpec],
    home: Home,
    broken: Iterable[BrokenPool] = (),
    *,
    io_manager_key: str = IO_MANAGER_KEY,
) -> dg.Definitions:
    """Definitions of several pools side by side, to be merged with those of any project.

    They take no default of a code location: no executor, no logger, and no resource but `curation_io_manager`. The jobs
    bring their own executor. Keys of assets, names of groups, owners and tags follow the key `dagster` of each pool.

        from curation_assets.defs.pool_definitions import build_definitions
        from curation_assets.pools import load_pool_spec
        from curation_assets.project import find_home

        pools = build_definitions([load_pool_spec(Path("pools/web.yaml"))], find_home())
        defs = dg.Definitions.merge(mine, pools)

    An asset of yours downstream of `dataset_release` gets a `Release`; see `HandleIOManager`. In a run that is not of
    one of the pool's jobs, such as *Materialize* in the UI, steps run with the executor of your location.

    Args:
        specs: settings of the pools. Those of a pool in the project's folder `pools` are read again when its job
            `<pool>_curate` runs; others are taken as they are.
        home: folders of the project; `find_home()` takes them from the environment.
        broken: pools whose files are wrong. Each becomes one asset that says what is wrong.
        io_manager_key: resource key of the IO manager. Give pools with another storage root in the same code location
            another key.

    Returns:
        Definitions with assets and their checks, jobs, a sensor and schedules for each pool. All sensors and nightly
        schedules are off until you switch them on.

    Raises:
        CurationError: if CURATION_EXECUTOR names an executor that is not installed.
    """
    with warnings.catch_warnings():
        # BackfillPolicy is what lets one run hold a range of shards; it has been in beta, unchanged, for years.
        warnings.filterwarnings("ignore", category=dg.BetaWarning)
        return _definitions(specs, home, broken, io_manager_key)


def _definitions(
    specs: Iterable[PoolSpec], home: Home, broken: Iterable[BrokenPool], io_manager_key: str
) -> dg.Definitions:
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [build_broken_pool(pool) for pool in broken]
    checks: list[dg.AssetChecksDefinition] = []
    jobs: list[Job] = []
    sensors: list[dg.SensorDefinition] = []
    schedules: list[dg.ScheduleDefinition] = []
    for spec in specs:
        assets += build_sources(spec, home)
        assets += build_assets(spec, home, io_manager_key)
        checks += build_checks(spec, home)
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
        resources={io_manager_key: io_manager_of(home.storage_root)} if assets else {},
    )
