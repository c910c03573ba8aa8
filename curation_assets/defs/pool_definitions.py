"""All definitions of one pool."""

from __future__ import annotations

import dagster as dg

from curation_assets.defs.assets.admitted import build_admitted
from curation_assets.defs.assets.atlas import build_atlas
from curation_assets.defs.assets.balanced_dataset import build_balanced_dataset
from curation_assets.defs.assets.base import PoolGraph
from curation_assets.defs.assets.dataset_release import build_dataset_release
from curation_assets.defs.assets.duplicates import build_duplicates
from curation_assets.defs.assets.embeddings import build_embeddings
from curation_assets.defs.assets.evaluation import build_contaminated, build_evaluation_sets
from curation_assets.defs.assets.levels import build_level
from curation_assets.defs.assets.raw_pool import build_raw_pool
from curation_assets.defs.assets.report import build_report
from curation_assets.defs.assets.selection import build_ledger, build_selection
from curation_assets.defs.assets.token_counts import build_token_counts
from curation_assets.defs.assets.tree import build_drift, build_tree
from curation_assets.defs.checks import build_checks
from curation_assets.defs.io_managers import HandleIOManager
from curation_assets.defs.jobs import Job, build_jobs
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.executors import chosen_executor
from curation_assets.defs.schedules import build_schedules
from curation_assets.defs.sensors import build_sensor
from curation_assets.pools import PoolSpec
from curation_assets.project import Home


def build_definitions(specs: list[PoolSpec], home: Home) -> dg.Definitions:
    """Definitions of several pools side by side.

    Args:
        specs: the pools.
        home: where the project keeps its data.
    """
    assets: list[dg.AssetsDefinition] = []
    checks: list[dg.AssetChecksDefinition] = []
    jobs: list[Job] = []
    sensors: list[dg.SensorDefinition] = []
    schedules: list[dg.ScheduleDefinition] = []
    for spec in specs:
        graph = PoolGraph.of(spec)
        assets += [build_raw_pool(graph), build_embeddings(graph)]
        if "token_counts" in graph.steps:
            assets.append(build_token_counts(graph))
        if "contaminated" in graph.steps:
            assets += [build_evaluation_sets(graph), build_contaminated(graph)]
        if "duplicates" in graph.steps:
            assets.append(build_duplicates(graph))
        if "admitted" in graph.steps:
            assets.append(build_admitted(graph))
        for level in range(1, spec.n_levels + 1):
            assets += build_level(graph, level)
        assets += [
            build_tree(graph),
            build_drift(graph),
            build_selection(graph),
            build_ledger(graph),
            build_balanced_dataset(graph),
            build_dataset_release(graph),
            build_report(graph),
        ]
        if "atlas" in graph.steps:
            assets.append(build_atlas(graph))
        checks += build_checks(graph)
        pool_jobs = build_jobs(spec, home)
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
