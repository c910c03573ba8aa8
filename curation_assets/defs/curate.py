"""The job `<pool>_curate`: its one step runs the waves that bring a pool up to date, in its own process."""

# Dagster reads the annotations of an op's function: they must not be strings.
import time
from collections.abc import Callable
from typing import TypeAlias

import dagster as dg
from pydantic import Field

from curation_assets.defs.keys import op_names, pool_tag
from curation_assets.defs.run.dead_runs import close_dead_runs, process_tag
from curation_assets.defs.run.driver import Driver
from curation_assets.defs.run.event_log import batched
from curation_assets.defs.run.interrupts import noticing_signals
from curation_assets.defs.run.job_names import curate_job
from curation_assets.defs.run.locks import PATIENCE_SECONDS, only_runner
from curation_assets.defs.run.outcome import result_lines, warning_lines
from curation_assets.defs.run.tags import POOL_TAG
from curation_assets.defs.run.wave_runner import WaveRunner
from curation_assets.errors import CurationError
from curation_assets.faults import fault_line
from curation_assets.pools import PoolSpec
from curation_assets.project import Home, find_spec, is_in_folder

BuildDefinitions: TypeAlias = Callable[[list[PoolSpec], Home], dg.Definitions]


class Curate(dg.Config):
    """What the launch dialog asks for."""

    list_files: bool = Field(
        default=True,
        description="List the pool's files first, and take in all of them. The sensor has listed them: it leaves out "
        "files that are still being written, and shards that wait after a failure.",
    )
    shards: list[str] = Field(
        default=[],
        description="Only take in these shards: read and embed them, and assign them to the tree if there is one. "
        "Empty: bring everything up to date.",
    )
    accept_removals: bool = Field(
        default=False,
        description="Confirm that files which are no longer listed are gone for good, however many: what is stored of "
        "them is removed at once. Otherwise a run stops if many files are gone (source.max_gone_share), and keeps "
        "what was embedded of fewer for a week.",
    )


Work: TypeAlias = Callable[[dg.OpExecutionContext, Curate], None]


def run_step(pool: str) -> str:
    """Name of the one step of the job."""
    return f"{pool}_run"


def build_curate_job(spec: PoolSpec, work: Work) -> dg.JobDefinition:
    """The job, or the same job with other work: the command line runs its waves as a run of it."""
    pool = spec.name

    @dg.op(name=run_step(pool), description=f"Does what `curation-assets run --pool {pool}` does.")
    def run(context: dg.OpExecutionContext, config: Curate) -> None:
        work(context, config)

    @dg.job(
        name=curate_job(pool),
        description=f"Lists the files of the pool '{pool}' and brings everything up to date, including a refit if one "
        f"is due. The same as `curation-assets run --pool {pool}`. Each wave of assets is a run of its own, with the "
        f"tag curation/parent.",
        executor_def=dg.in_process_executor,
        run_tags={POOL_TAG: pool_tag(spec)},
    )
    def curate() -> None:
        run()

    return curate


def work_of(spec: PoolSpec, home: Home, build: BuildDefinitions) -> Work:
    """What the job does in a process that Dagster started: list, plan and run the waves.

    Of a pool in the project's folder it takes the settings as they are when it runs.
    """
    in_folder = is_in_folder(home, spec)

    def work(context: dg.OpExecutionContext, config: Curate) -> None:
        instance = batched(context.instance)
        try:
            with noticing_signals():
                settings = find_spec(home, spec.name) if in_folder else spec
                _work(settings, home, build, context, config, instance)
        except CurationError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        except OSError as error:
            if (line := fault_line(error)) is None:
                raise
            raise dg.Failure(line, allow_retries=False) from error
        finally:
            if instance is not context.instance:
                instance.dispose()

    return work


def _work(
    spec: PoolSpec,
    home: Home,
    build: BuildDefinitions,
    context: dg.OpExecutionContext,
    config: Curate,
    instance: dg.DagsterInstance,
) -> None:
    pool, began = spec.name, time.monotonic()

    def say(line: str, style: str | None = None) -> None:
        (context.log.warning if style else context.log.info)(line)

    instance.add_run_tags(context.run_id, process_tag())
    what = f"run {context.run_id[:8]} in Dagster"
    with only_runner(home, pool, what, patience=PATIENCE_SECONDS, say=say):
        driver = Driver(home, spec, instance)
        close_dead_runs(instance, op_names(spec, driver.steps))
        if config.list_files:
            for line in driver.take_in_files(accept_removals=config.accept_removals):
                say(line)
        runner = WaveRunner(driver, lambda: build([spec], home), lambda line, style: None, parent=context.run)
        plan = driver.plan()
        # With no shard left to read, what follows is due.
        only = plan.wave if config.shards and plan.wave and plan.wave.partitioned else None
        if only:
            succeeded = runner.bring_up_to_date(list(only.outputs), config.shards)
        else:
            succeeded = runner.bring_up_to_date(None, plan=plan)
        if not succeeded:
            raise failure(runner)
        driver.storage.remove_orphans(list(driver.steps))
        seconds = time.monotonic() - began
        for line in result_lines(spec, driver.storage, runner.n_made, seconds, whole=only is None):
            say(line)
        for line in warning_lines(spec, driver.storage):
            say(line, "yellow")


def failure(runner: WaveRunner) -> dg.Failure:
    """What the parent ends with if a wave failed: the messages of the failed steps."""
    return dg.Failure(
        "\n".join([*runner.failures, "Finished work is kept: the next run makes only the rest"]),
        allow_retries=False,
    )
