"""Runs waves in this process (or several of them): what `run`, `backfill` and their workers share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console

from curation_assets.cli.workers import run_workers
from curation_assets.errors import CurationError
from curation_assets.graph.freshness import Again, Freshness
from curation_assets.graph.refit import choose_fit_rows, due_refit
from curation_assets.graph.relations import fit_steps
from curation_assets.graph.steps import pool_steps
from curation_assets.graph.waves import MOST_RUNS_OF_A_WAVE, Wave, contiguous_blocks, next_wave
from curation_assets.pools import PoolSpec
from curation_assets.project import Home
from curation_assets.storage.pool_storage import PoolStorage

if TYPE_CHECKING:
    import dagster as dg

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Runner:
    """Brings steps of one pool up to date.

    Args:
        home: of the project.
        spec: the pool.
        instance: Dagster's.
        console: where to say what happens.
        again: steps to make again whatever their facts say.
        parallel: processes for partitioned waves; 1 runs them here.
    """

    home: Home
    spec: PoolSpec
    instance: dg.DagsterInstance
    console: Console
    again: Again | None = None
    parallel: int = 1
    n_made: int = field(default=0, init=False)
    """Assets brought up to date so far."""
    _checks: dict[str, tuple[bool, str]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.storage = PoolStorage(self.home.storage_root, self.spec.name)
        self.steps = pool_steps(self.spec)

    def sync_shards(self) -> None:
        """List the files of the pool and of its evaluation sets as they are now; every shard takes part."""
        from curation_assets.defs.partitions import take_listing
        from curation_assets.formats import build_reader
        from curation_assets.steps.cleaning.evaluation_sets import take_evaluation_listing
        from curation_assets.steps.context import evaluation_readers

        take_evaluation_listing(self.spec, evaluation_readers(self.spec, self.home.folder), self.storage)
        files = build_reader(self.spec.source, self.home.folder).list_files()
        change = take_listing(self.instance, self.spec, self.storage, files)
        if change.words:
            self.say(f"{len(change.shards)} shards of {len(files)} files: {change.words}")

    def freshness(self) -> Freshness:
        """What is out of date now."""
        return Freshness(self.storage, self.steps, self.storage.shards(), self.again)

    def bring_up_to_date(self, names: Collection[str], shards: Collection[str] | None = None) -> bool:
        """Run wave after wave until nothing of the named steps is out of date; True if all went well.

        Raises:
            CurationError: if a wave ran without error and is out of date all the same.
        """
        previous: Wave | None = None
        while True:
            freshness = self.freshness()
            if set(fit_steps(self.steps)) <= set(names) and shards is None:
                freshness = self._refit_if_due(freshness)
            wave = next_wave(freshness, names, shards)
            if wave is None:
                return True
            if previous is not None and wave.outputs == previous.outputs:
                raise CurationError(
                    f"{', '.join(wave.outputs)} ran and are out of date all the same: {wave.words}"
                )
            if not self._run_wave(wave):
                return False
            self.n_made += len(wave.outputs)
            previous = wave

    def _refit_if_due(self, freshness: Freshness) -> Freshness:
        reason = due_refit(freshness)
        if reason and choose_fit_rows(self.storage, freshness, reason):
            self.say(f"refit from level 1: {reason}")
            return self.freshness()
        return freshness

    def _run_wave(self, wave: Wave) -> bool:
        names = list(wave.outputs)
        if not wave.partitioned:
            succeeded = self.execute(names, None, wave.words)
            self._show_checks()
            return succeeded
        from curation_assets.defs.partitions import partitions_name
        from curation_assets.defs.run.limits import pool_limit

        ordered = list(self.instance.get_dynamic_partitions(partitions_name(self.spec.name)))
        # What is made again is made again in the whole of a block: then none may be joined.
        blocks = contiguous_blocks(ordered, wave.shards, None if self.again else MOST_RUNS_OF_A_WAVE)
        n_processes = min(
            self.parallel, len(wave.shards), pool_limit(self.instance, [self.steps[name] for name in names])
        )
        if n_processes > 1:
            return run_workers(self, names, blocks, ordered, n_processes)
        results = [self.execute(names, block, wave.words) for block in blocks]
        self._show_checks()
        return all(results)

    def execute(self, names: Sequence[str], block: tuple[str, str] | None, reason: str) -> bool:
        """One Dagster run in this process; True if it succeeded.

        Args:
            names: steps of one wave.
            block: first and last shard in Dagster's order of partitions, for partitioned steps.
            reason: why, for the run's tags.
        """
        import dagster as dg

        from curation_assets.defs.jobs import whole_pool_job
        from curation_assets.defs.pool_definitions import build_definitions
        from curation_assets.defs.run.tags import run_tags

        job = build_definitions([self.spec], self.home).resolve_job_def(whole_pool_job(self.spec.name))
        result = job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey([self.spec.name, name]) for name in names],
            tags=run_tags(self.spec.name, block, reason=reason, again=self.again),
            raise_on_error=False,
            run_config=_QUIET,
        )
        for evaluation in result.get_asset_check_evaluations():
            # Of a check that ran in several runs of a wave only the last saw all of it.
            self._checks[evaluation.check_name] = (evaluation.passed, evaluation.description or "")
        if result.success:
            return True
        self._show_failures(result)
        return False

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
            f"details: runs of pool '{self.spec.name}' in `make dev`; finished work is kept", style="red"
        )

    def say(self, text: str, style: str | None = None) -> None:
        """A line for the user."""
        self.console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)
