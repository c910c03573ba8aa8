"""Carries out a pool's plan in this process (or several of them): what `run`, `backfill` and their workers share."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import dagster as dg
from rich.console import Console

from curation_assets import progress
from curation_assets.cli.interrupts import ends_cleanly
from curation_assets.cli.rebuild import Rebuild
from curation_assets.cli.terminal import TerminalSink, say
from curation_assets.cli.workers import run_workers
from curation_assets.defs.keys import op_names, pool_tag
from curation_assets.defs.run.dead_runs import close_dead_runs, process_tag
from curation_assets.defs.run.driver import Driver
from curation_assets.defs.run.event_log import open_instance
from curation_assets.defs.run.in_process import execute_in_process
from curation_assets.defs.run.locks import PATIENCE_SECONDS, only_runner
from curation_assets.defs.run.origin import job_origin
from curation_assets.defs.run.tags import COMMAND_TAG, POOL_TAG, REASON_TAG, STEPS_TAG
from curation_assets.defs.run.wave_runner import WaveRunner, name_of
from curation_assets.graph.freshness import Forced
from curation_assets.project import find_spec, open_home


@contextmanager
def open_runner(pool: str, *, parallel: int = 1) -> Iterator[Runner]:
    """A runner that holds the pool's locks for the block.

    Raises:
        PoolSpecError: if the pool does not exist.
        PoolBusyError: if another process runs it.
    """
    home, console = open_home(), Console()
    spec = find_spec(home, pool)
    with (
        ends_cleanly(),
        open_instance() as instance,
        only_runner(home, pool, _command(), patience=PATIENCE_SECONDS, say=partial(say, console)),
    ):
        yield Runner(Driver(home, spec, instance), console, parallel)


def _command() -> str:
    """The command line that this process executes."""
    return " ".join(["curation-assets", *sys.argv[1:]])


def waves_of(driver: Driver, console: Console, parallel: int = 1) -> WaveRunner:
    """What runs waves of the driver's pool and tells the console."""

    def definitions() -> dg.Definitions:
        # Slow to import, and not needed if everything is up to date.
        from curation_assets.defs.pool_definitions import build_definitions

        return build_definitions([driver.spec], driver.home)

    def tell(line: str, style: str | None) -> None:
        say(console, line, style)

    return WaveRunner(driver, definitions, tell, parallel, run_workers)


@dataclass
class Runner:
    """Brings steps of one pool up to date, partitioned waves in `parallel` processes."""

    driver: Driver
    console: Console
    parallel: int = 1
    n_made: int = field(default=0, init=False)
    """Assets brought up to date so far."""

    @property
    def _op_names(self) -> frozenset[str]:
        return op_names(self.driver.spec, self.driver.steps)

    def close_interrupted_runs(self) -> None:
        """Mark runs of killed processes as failed; what they finished is kept."""
        if n := close_dead_runs(self.driver.instance, self._op_names):
            self.say(f"{n} interrupted {'run' if n == 1 else 'runs'} found; resuming")

    def sync_shards(self, *, accept_removals: bool = False) -> None:
        """List the files of the pool and of its evaluation sets as they are now; every shard takes part."""
        for line in self.driver.take_in_files(accept_removals=accept_removals):
            self.say(line)

    def force(self, names: Iterable[str], rebuild: Rebuild) -> None:
        """Rebuild these steps even if they are up to date."""
        self.driver.forced = Forced(frozenset(names), rebuild.since)
        if rebuild.is_resumed:
            self.say(
                f"resuming the rebuild started at {rebuild.since[:19]} UTC; what it has finished since then is kept"
            )

    def carry_out(
        self, names: Collection[str], shards: Collection[str] | None, rebuild: Rebuild | None
    ) -> bool:
        """Bring steps up to date with progress bars, and finish the order to rebuild; True if no run failed.

        Raises:
            CurationError: if the outputs of a wave are out of date although its runs succeeded.
            KeyboardInterrupt: if this process is told to end.
        """
        with TerminalSink(self.console) as sink, progress.shown_in(sink):
            succeeded = self.bring_up_to_date(names, shards)
        if succeeded and rebuild:
            rebuild.finish()
        return succeeded

    def bring_up_to_date(self, names: Collection[str], shards: Collection[str] | None = None) -> bool:
        """The same without bars: one run of the job `<pool>_curate`, below which each wave is a run of its own.

        Nothing is recorded if everything is up to date.
        """
        from curation_assets.defs.curate import Curate, build_curate_job, failure

        driver, errors = self.driver, list[Exception]()
        plan = driver.plan(names, shards)
        if plan.wave is None:
            return True
        waves = waves_of(driver, self.console, self.parallel)

        def work(context: dg.OpExecutionContext, config: Curate) -> None:
            waves.parent = context.run
            try:
                succeeded = waves.bring_up_to_date(names, shards, plan)
            except Exception as error:
                errors.append(error)
                raise
            if not succeeded:
                raise failure(waves)

        job = build_curate_job(driver.spec, work)
        chosen = [name for name in driver.steps if name in names]
        tags = {
            POOL_TAG: pool_tag(driver.spec),
            COMMAND_TAG: _command(),
            STEPS_TAG: name_of(chosen),
            REASON_TAG: plan.wave.summary,
        } | process_tag()
        try:
            result = execute_in_process(
                job, driver.instance, tags=tags, origin=job_origin(driver.home, job.name)
            )
        except dg.DagsterExecutionInterruptedError:
            raise KeyboardInterrupt from None
        finally:
            self.n_made += waves.n_made
            close_dead_runs(driver.instance, self._op_names)
        if errors:
            raise errors[0]
        if not result.success:
            self.say(
                f"finished work is kept. For details, open the UI with `curation-assets dev` and look at run "
                f"{result.run_id[:8]}",
                style="red",
            )
        return result.success

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line for the user."""
        say(self.console, text, style)
