"""The assets of a pool: one factory over the declared steps."""

# Dagster reads the annotations of an asset's function: they must not be strings.
from datetime import timedelta

import dagster as dg
from pydantic import Field

from curation_assets.defs.access import access
from curation_assets.defs.keys import asset_key
from curation_assets.defs.partitions import pool_partitions
from curation_assets.defs.run.request import require_sound_request
from curation_assets.defs.run.step_run import StepRun
from curation_assets.defs.shown import SHOWN
from curation_assets.defs.sources import sources_of
from curation_assets.defs.standard_metadata import standard_metadata
from curation_assets.errors import CurationError
from curation_assets.faults import fault_line
from curation_assets.graph.base import Step
from curation_assets.graph.relations import direct_inputs
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.project import Home
from curation_assets.storage.tables import DatasetRelease

# Only storage that does not answer is tried again (see `StepRun`), and only for the failed shards.
_IO_RETRIES = dg.RetryPolicy(
    max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


class Launch(dg.Config):
    """What the launch dialog asks for each asset."""

    again: bool = Field(
        default=False,
        description="Make it again even if it is up to date. Without this, materializing something up to date does "
        "nothing.",
    )


def build_assets(spec: PoolSpec, home: Home, io_manager_key: str) -> list[dg.AssetsDefinition]:
    """The assets of a pool, one for each of its steps.

    Args:
        spec: settings of the pool.
        home: folders of the project.
        io_manager_key: of the IO manager that hands out the outputs.
    """
    steps = pool_steps(spec)
    return [_build_asset(spec, step, steps, home, io_manager_key) for step in steps.values()]


def _build_asset(
    spec: PoolSpec, step: Step, steps: dict[str, Step], home: Home, io_manager_key: str
) -> dg.AssetsDefinition:
    shown_as = spec.dagster

    @dg.asset(
        key=asset_key(spec, step.name),
        deps=[
            *sources_of(spec, step.name),
            *(asset_key(spec, source) for source in direct_inputs(steps, step.name)),
        ],
        io_manager_key=io_manager_key,
        partitions_def=pool_partitions(spec) if step.partitioned else None,
        # One run holds a range of shards, and the fan-in after them: see docs/dagster.md.
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=shown_as.group_of(spec.name, step.lane),
        owners=shown_as.owners,
        metadata=standard_metadata(spec, home, step),
        freshness_policy=_freshness_policy(spec, step),
        tags=shown_as.tags,
        kinds=set(step.badges),
        description=step.description,
        code_version=step.config_fingerprint,
        pool=step.weight.value or None,
        retry_policy=_IO_RETRIES if step.partitioned else None,
    )
    def materialize(context: dg.AssetExecutionContext, config: Launch) -> dg.MaterializeResult:
        try:
            pool = access(spec, home)
            require_sound_request(context, pool.storage, step, steps)
            return StepRun(context, pool, step, SHOWN.get(step.kind), config.again).run()
        except CurationError as error:
            # The error names a remedy; another try would only meet it again.
            raise dg.Failure(description=str(error), allow_retries=False) from error
        except OSError as error:
            if (line := fault_line(error)) is None:
                raise
            raise dg.Failure(description=line, allow_retries=False) from error

    return materialize


def _freshness_policy(spec: PoolSpec, step: Step) -> dg.FreshnessPolicy | None:
    hours = spec.dagster.fresh_within_hours
    if hours is None or step.name != DatasetRelease.asset:
        return None
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours))
