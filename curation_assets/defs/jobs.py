"""Jobs, named for what people do."""

import os
import subprocess
import sys
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg

from curation_assets.defs.run.executors import chosen_executor
from curation_assets.defs.run.job_names import (
    curate_job,
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

if TYPE_CHECKING:
    # Private, as Dagster exports define_asset_job but not the class that it returns.
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

Job: TypeAlias = "UnresolvedAssetJobDefinition | dg.JobDefinition"


def sensed_jobs(pool: str) -> tuple[str, ...]:
    """Jobs that the pool's sensor requests runs of."""
    return ingest_job(pool), resample_job(pool), whole_pool_job(pool)


def job_for(spec: PoolSpec, names: set[str]) -> str:
    """Name of the job that best describes a run of these steps."""
    steps = pool_steps(spec)
    if names <= set(ingest_steps(steps)):
        return ingest_job(spec.name)
    if names <= set(descendants(steps, "selection")):
        return resample_job(spec.name)
    return whole_pool_job(spec.name)


def build_jobs(spec: PoolSpec, home: Home) -> list[Job]:
    """The jobs of a pool."""
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
        _curate(spec, home),
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
        selection=dg.AssetSelection.assets(*[[spec.name, step] for step in steps]),
        description=description,
        executor_def=chosen_executor(),
        run_tags={POOL_TAG: spec.name, **(tags or {})},
    )


def _curate(spec: PoolSpec, home: Home) -> dg.JobDefinition:
    """Runs the command line in its own process, because a run of assets cannot decide about a refit half-way."""

    @dg.op(name=f"{spec.name}_run", description=f"Runs `curation-assets run --pool {spec.name}`.")
    def run(context: dg.OpExecutionContext) -> None:
        command = [sys.executable, "-m", "curation_assets.cli.main", "run", "--pool", spec.name]
        environment = os.environ | home.environment
        with subprocess.Popen(  # noqa: S603 - our own command line
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                context.log.info(line.rstrip())
        if process.returncode:
            raise dg.Failure(
                f"`curation-assets run --pool {spec.name}` ended with code {process.returncode}. Its output is above; "
                f"finished work is kept",
                allow_retries=False,
            )

    @dg.job(
        name=curate_job(spec.name),
        description=f"Lists the files of the pool '{spec.name}' and brings everything up to date, including a refit "
        f"if one is due. The same as `curation-assets run --pool {spec.name}`.",
        executor_def=dg.in_process_executor,
        run_tags={POOL_TAG: spec.name},
    )
    def curate() -> None:
        run()

    return curate
