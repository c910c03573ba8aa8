"""Carries out a pool's plan in this process (or several of them): what `run`, `backfill` and their workers share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg
from rich.console import Console

from curation_assets import progress
from curation_assets.cli.rebuild import Rebuild
from curation_assets.cli.terminal import TerminalSink, say
from curation_assets.cli.workers import run_workers
from curation_assets.defs.jobs import whole_pool_job
from curation_assets.defs.run.dead_runs import close_dead_runs
from curation_assets.defs.run.driver import Driver, PlannedRun
from curation_assets.defs.run.event_log import open_instance
from curation_assets.defs.run.limits import pool_limit
from curation_assets.defs.run.locks import only_runner
from curation_assets.errors import CurationError
from curation_assets.graph.freshness import Forced
from curation_assets.graph.waves import Wave
from curation_assets.project import find_spec, open_home

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@contextmanager
def open_runner(pool: str, *, parallel: int = 1) -> Iterator[Runner]:
    """A runner that holds the pool's locks for the block.

    Raises:
        PoolSpecError: if the pool does not exist.
        PoolBusyError: if another process runs it.
    """
    home = open_home()
    spec = find_spec(home, pool)
    with open_instance() as instance, only_runner(home, instance, pool):
        yield Runner(Driver(home, spec, instance), Console(), parallel)


@dataclass
class Runner:
    """Brings steps of one pool up to date, partitioned waves in `parallel` processes."""

    driver: Driver
    console: Console
    parallel: int = 1
    n_made: int = field(default=0, init=False)
    """Assets brought up to date so far."""
    _checks: dict[str, tuple[bool, str]] = field(default_factory=dict, init=False)

    def close_interrupted_runs(self) -> None:
        """Mark runs of killed processes as failed; what they finished is kept."""
        if n := close_dead_runs(self.driver.instance):
            self.say(f"{n} interrupted {'run' if n == 1 else 'runs'} found; resuming")

    def sync_shards(self) -> None:
        """List the files of the pool and of its evaluation sets as they are now; every shard takes part."""
        files = self.driver.list_files()
        aside = [shard.key for shard in self.driver.storage.all_shards() if shard.set_aside]
        change = self.driver.sync_shards(files)
        if change.summary:
            self.say(f"{len(change.shards)} shards of {len(files)} files: {change.summary}")
        if aside:
            self.say(f"set aside by the sensor until now, and tried again: {', '.join(aside)}")

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
        """Bring steps up to date with progress bars, and finish the order to rebuild; True if no run failed."""
        with TerminalSink(self.console) as sink, progress.shown_in(sink):
            succeeded = self.bring_up_to_date(names, shards)
        if succeeded and rebuild:
            rebuild.finish()
        return succeeded

    def bring_up_to_date(self, names: Collection[str], shards: Collection[str] | None = None) -> bool:
        """Run wave after wave until none of the named steps is out of date; True if no run failed.

        Raises:
            CurationError: if the outputs of a wave are out of date although its runs succeeded.
        """
        previous: Wave | None = None
        while True:
            plan = self.driver.plan(names, shards)
            wave = plan.wave
            if plan.refit:
                self.say(f"refit from level 1: {plan.refit}")
            if wave is None:
                return True
            if previous is not None and wave.outputs == previous.outputs:
                raise CurationError(
                    f"{', '.join(wave.outputs)} ran without error but are still out of date ({wave.summary}). Make "
                    f"sure that the pool's files and settings do not change during the run, then start it again"
                )
            if not self._run_wave(wave):
                return False
            self.n_made += len(wave.outputs)
            previous = wave

    def _run_wave(self, wave: Wave) -> bool:
        runs = list(self.driver.runs(wave))
        names = list(wave.outputs)
        limit = pool_limit(self.driver.instance, [self.driver.steps[name] for name in names])
        n_processes = min(self.parallel, len(wave.shards), limit)
        if n_processes > 1:
            blocks = [run.block for run in runs if run.block]
            return run_workers(self, names, blocks, n_processes)
        results = [self.execute(run) for run in runs]
        self._show_checks()
        return all(results)

    def execute(self, run: PlannedRun) -> bool:
        """Execute a run in this process; True if it succeeded."""
        # Slow to import, and not needed if everything is up to date.
        from curation_assets.defs.pool_definitions import build_definitions

        driver, pool = self.driver, self.driver.spec.name
        job = build_definitions([driver.spec], driver.home).resolve_job_def(whole_pool_job(pool))
        result = job.execute_in_process(
            instance=driver.instance,
            asset_selection=[dg.AssetKey([pool, name]) for name in run.steps],
            tags=driver.tags(run.block, run.reason, in_this_process=True),
            raise_on_error=False,
            run_config=_QUIET,
        )
        for evaluation in result.get_asset_check_evaluations():
            # If several runs of a wave evaluate a check, only the last one sees the whole wave.
            self._checks[evaluation.check_name] = (evaluation.passed, evaluation.description or "")
        if not result.success:
            self._show_failures(result)
        return result.success

    def _show_checks(self) -> None:
        for name, (passed, description) in self._checks.items():
            if not passed:
                self.say(f"check {name} did not pass: {description}", style="yellow")
        self._checks.clear()

    def _show_failures(self, result: dg.ExecuteInProcessResult) -> None:
        for event in result.all_events:
            if event.is_step_failure:
                data = event.step_failure_data
                message = data.user_failure_data.description if data.user_failure_data else None
                cause = data.error.cause if data.error and data.error.cause else data.error
                self.say(
                    f"{event.step_key} failed: {message or (cause.message.strip() if cause else '')}",
                    style="red",
                )
        self.say(
            f"finished work is kept. For details, open the UI with `make dev` and look at the runs of pool "
            f"'{self.driver.spec.name}'",
            style="red",
        )

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line for the user."""
        say(self.console, text, style)
