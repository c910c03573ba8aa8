"""Brings a pool up to date: wave after wave in this process, each as a run of its own below one parent run.

The command line and the job `<pool>_curate` use it, and so does the sensor, which requests that job.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from curation_assets.defs.keys import asset_key
from curation_assets.defs.run.driver import Block, Driver, Plan, PlannedRun
from curation_assets.defs.run.in_process import execute_in_process
from curation_assets.defs.run.limits import pool_limit
from curation_assets.defs.run.origin import Origin, job_origin, origin_beside
from curation_assets.defs.run.private_api import without
from curation_assets.errors import CurationError
from curation_assets.graph.waves import Wave

try:
    # Private, as Dagster exports no event of a run's machinery.
    from dagster._core.events import EngineEventData
except ImportError as error:
    without("lines of a run have no links to its waves", error)

    def EngineEventData(_: Any) -> None:  # type: ignore[no-redef]  # noqa: N802
        """No data."""


_CANCELED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)

Say = Callable[[str, str | None], None]
"""Tells the user a line, in a style of rich or None."""
RunBlocks = Callable[["WaveRunner", Sequence[str], list[Block], int], bool]
"""Runs blocks of steps in several processes; True if all succeeded."""


def name_of(steps: Sequence[str]) -> str:
    """The name of a wave: its first and last step."""
    return steps[0] if len(steps) == 1 else f"{steps[0]} … {steps[-1]}"


@dataclass
class WaveRunner:
    """Brings steps of one pool up to date.

    Args:
        driver: plans the waves.
        definitions: assembles the pool's definitions, of which a wave runs some assets.
        say: tells the user what happens, besides the events of the parent.
        parallel: processes that share a partitioned wave, started by `run_blocks`.
    """

    driver: Driver
    definitions: Callable[[], dg.Definitions]
    say: Say
    parallel: int = 1
    run_blocks: RunBlocks | None = None
    parent: dg.DagsterRun | None = None
    """The run that every wave is tagged with."""
    wave: str = ""
    """Number and name of the present wave."""
    n_made: int = field(default=0, init=False)
    """Assets brought up to date so far."""
    failures: list[str] = field(default_factory=list, init=False)
    """Each failed step, with its own message and remedy."""
    _job: dg.JobDefinition | None = field(default=None, init=False)
    _checks: dict[str, tuple[bool, str]] = field(default_factory=dict, init=False)

    def bring_up_to_date(
        self, names: Collection[str] | None, shards: Collection[str] | None = None, plan: Plan | None = None
    ) -> bool:
        """Run wave after wave until none of the named steps is out of date; True if no run failed.

        Args:
            names: steps; all if None.
            shards: shards; all if None.
            plan: the first wave, if it is planned already.

        Raises:
            CurationError: if the outputs of a wave are out of date although its runs succeeded.
            dagster.DagsterExecutionInterruptedError: if the parent was cancelled.
        """
        previous: Wave | None = None
        number = 0
        while True:
            plan = plan or self.driver.plan(names, shards)
            wave, refit, plan = plan.wave, plan.refit, None
            if refit:
                self._tell(f"refit from level 1: {refit}")
            if wave is None:
                return True
            if previous is not None and wave.outputs == previous.outputs:
                raise CurationError(
                    f"{', '.join(wave.outputs)} ran without error but are still out of date ({wave.summary}). Make "
                    f"sure that the pool's files and settings do not change during the run, then start it again"
                )
            self._stop_if_cancelled()
            number += 1
            self.wave = f"{number}: {name_of(list(wave.outputs))}"
            if not self._run_wave(wave):
                return False
            self.n_made += len(wave.outputs)
            previous = wave

    def _run_wave(self, wave: Wave) -> bool:
        runs = list(self.driver.runs(wave))
        names = list(wave.outputs)
        of_shards = f", {len(wave.shards)} shards" if wave.partitioned else ""
        self._note(f"wave {self.wave}{of_shards}: {wave.summary}")
        limit = pool_limit(self.driver.instance, [self.driver.steps[name] for name in names])
        n_processes = min(self.parallel, len(wave.shards), limit)
        if n_processes > 1 and self.run_blocks:
            blocks = [run.block for run in runs if run.block]
            return self.run_blocks(self, names, blocks, n_processes)
        results = [self.execute(run) for run in runs]
        self._show_checks()
        return all(results)

    def execute(self, run: PlannedRun) -> bool:
        """Execute a run in this process; True if it succeeded.

        Raises:
            dagster.DagsterExecutionInterruptedError: if it was interrupted.
        """
        driver = self.driver
        if self._job is None:
            # Dagster's own job of chosen assets: the UI shows its runs by their assets.
            self._job = self.definitions().resolve_implicit_global_asset_job_def()
        result = execute_in_process(
            self._job,
            driver.instance,
            tags=driver.tags(
                run, in_this_process=True, parent=self.parent.run_id if self.parent else "", wave=self.wave
            ),
            origin=self._origin(self._job.name),
            assets=[asset_key(driver.spec, name) for name in run.steps],
        )
        for evaluation in result.get_asset_check_evaluations():
            # If several runs of a wave evaluate a check, only the last one sees the whole wave.
            self._checks[evaluation.check_name] = (evaluation.passed, evaluation.description or "")
        if not result.success:
            self._tell_failures(result)
        return result.success

    def _origin(self, job: str) -> Origin | None:
        """Where the UI finds the job of a wave: in the code location of the parent."""
        ours = self.parent.remote_job_origin if self.parent else None
        return origin_beside(ours, job) if ours else job_origin(self.driver.home, job)

    def _stop_if_cancelled(self) -> None:
        """End if somebody has marked the parent as cancelled."""
        if self.parent is None:
            return
        run = self.driver.instance.get_run_by_id(self.parent.run_id)
        if run is None or run.status in _CANCELED:
            raise dg.DagsterExecutionInterruptedError

    def _tell(self, line: str, style: str | None = None, run_id: str = "") -> None:
        """Tell the user a line, and note it."""
        self.say(line, style)
        self._note(line, run_id)

    def _note(self, line: str, run_id: str = "") -> None:
        """Show a line, with a link to a run, among the events of the parent."""
        if self.parent:
            links = {"run": dg.MetadataValue.dagster_run(run_id)} if run_id else {}
            self.driver.instance.report_engine_event(line, self.parent, EngineEventData(links))

    def _show_checks(self) -> None:
        for name, (passed, description) in self._checks.items():
            if not passed:
                self._tell(f"check {name} did not pass: {description}", "yellow")
        self._checks.clear()

    def _tell_failures(self, result: dg.ExecuteInProcessResult) -> None:
        for event in result.all_events:
            if event.is_step_failure:
                data = event.step_failure_data
                message = data.user_failure_data.description if data.user_failure_data else None
                cause = data.error.cause if data.error and data.error.cause else data.error
                line = f"{event.step_key} failed: {message or (cause.message.strip() if cause else '')}"
                self.failures.append(line)
                self._tell(line, "red", result.run_id)
