"""Jobs, named for what people do."""

from typing import Any, TypeAlias

import dagster as dg

from curation_assets.defs.curate import BuildDefinitions, build_curate_job, work_of
from curation_assets.defs.keys import asset_key, pool_tag
from curation_assets.defs.run.executors import chosen_executor
from curation_assets.defs.run.job_names import (
    ingest_job,
    recluster_job,
    resample_job,
    whole_pool_job,
)
from curation_assets.defs.run.tags import FORCED_TAG, POOL_TAG, THIS_RUN
from curation_assets.graph.base import Step
from curation_assets.graph.relations import descendants, descendants_to_force, fit_steps, ingest_steps
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.project import Home

Job: TypeAlias = Any
"""A `dg.JobDefinition`, or what `dg.define_asset_job` returns, whose class Dagster does not export."""


def build_jobs(spec: PoolSpec, home: Home, build: BuildDefinitions) -> list[Job]:
    """The jobs of a pool; `build` assembles the definitions whose assets the job `<pool>_curate` runs."""
    pool, steps = spec.name, pool_steps(spec)
    jobs: list[Job] = [
        _asset_job(
            spec,
            whole_pool_job(pool),
            list(steps),
            f"Brings every asset of the pool '{pool}' up to date. Choose all partitions.",
        ),
        _asset_job(
            spec,
            ingest_job(pool),
            ingest_steps(steps),
            "Reads and embeds the chosen shards and assigns them to the current tree, which must exist.",
        ),
        _asset_job(
            spec,
            resample_job(pool),
            descendants(steps, "selection"),
            "Draws the targets again from the current tree, without clustering. Choose all partitions.",
        ),
        build_curate_job(spec, work_of(spec, home, build)),
    ]
    jobs += [_recluster(spec, steps, level) for level in range(1, spec.n_levels + 1)]
    return jobs


def _recluster(spec: PoolSpec, steps: dict[str, Step], level: int) -> Job:
    first = fit_steps(steps, level)[0]
    return _asset_job(
        spec,
        recluster_job(spec.name, level),
        descendants(steps, first),
        f"Refits level {level} and all levels above it, assigns the rows and draws the targets. Choose all "
        f"partitions.",
        tags={FORCED_TAG: " ".join([THIS_RUN, *descendants_to_force(steps, first)])},
    )


def _asset_job(
    spec: PoolSpec, name: str, steps: list[str], description: str, tags: dict[str, str] | None = None
) -> Job:
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*[asset_key(spec, step) for step in steps]),
        description=description,
        executor_def=chosen_executor(),
        run_tags={POOL_TAG: pool_tag(spec), **(tags or {})},
    )
