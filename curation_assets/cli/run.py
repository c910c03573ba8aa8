"""`curation-assets run`: whatever is out of date, wave after wave, in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console

from curation_assets import progress
from curation_assets.cli.project import (
    PROCESS_TAG,
    close_dead_runs,
    find_spec,
    only_runner,
    open_home,
    process_name,
)
from curation_assets.cli.terminal import TerminalSink
from curation_assets.cli.waves import contiguous_blocks, waves
from curation_assets.errors import PoolSpecError
from curation_assets.home import Home
from curation_assets.lineage import Freshness, descendants, pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import group_files

if TYPE_CHECKING:
    import dagster as dg

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_INGEST = ("raw_pool", "embeddings")


def run_pool(pool: str, *, first: str | None, shard_keys: Sequence[str] | None) -> int:
    """Run a pool; returns the exit code.

    Args:
        pool: name of the pool.
        first: run this step (or the first of this level) and all after it again.
        shard_keys: ingest only these shards.

    Raises:
        PoolSpecError: if the pool, the step or a shard does not exist, or the combination would mix clusters.
        PoolBusyError: if another process runs the same pool.
    """
    home = open_home()
    spec = find_spec(home, pool)
    with only_runner(home, pool):
        return _Runner(home, spec, Console()).run(first, shard_keys)


@dataclass
class _Runner:
    home: Home
    spec: PoolSpec
    console: Console
    storage: PoolStorage = field(init=False)

    def __post_init__(self) -> None:
        self.storage = PoolStorage(self.home.storage_root, self.spec.name)
        self.steps = pool_steps(self.spec)

    def run(self, first: str | None, shard_keys: Sequence[str] | None) -> int:
        """Plan, run the waves, and say what happened."""
        import dagster as dg

        began = time.monotonic()
        names, forced = self._chosen_steps(first, shard_keys)
        with dg.DagsterInstance.get() as instance:
            if n_dead := close_dead_runs(instance):
                self._say(f"{n_dead} earlier runs were cut off; continuing from what they had finished")
            self._sync_shards(instance)
            keys = self._chosen_shards(shard_keys)
            n_made = 0
            with TerminalSink(self.console) as sink, progress.shown_in(sink):
                for wave in waves(self.steps, names):
                    todo = self._todo(wave, keys, forced)
                    if not todo:
                        continue
                    if not self._run_wave(instance, todo, keys, forced=forced):
                        return 1
                    n_made += len(todo)
        if n_made == 0:
            self._say(f"pool '{self.spec.name}' is up to date: nothing to do")
            return 0
        self._say(f"pool '{self.spec.name}': {n_made} assets in {time.monotonic() - began:.0f} s")
        if not shard_keys:
            self._show_result()
        return 0

    def _chosen_steps(self, first: str | None, shard_keys: Sequence[str] | None) -> tuple[list[str], bool]:
        if shard_keys:
            if first is not None and first not in _INGEST:
                raise PoolSpecError(
                    f"--shards together with --from {first} would mix clusters of an old and a new fit: give one of "
                    f"the two (--shards alone ingests; --from raw_pool or embeddings may go with it)"
                )
            start = _INGEST.index(first) if first else 0
            return list(_INGEST[start:]), first is not None
        if first is None:
            return list(self.steps), False
        name = next((n for n in (first, f"{first}_initial", f"{first}_clusters") if n in self.steps), None)
        if name is None:
            levels = [f"level_{level}" for level in range(1, self.spec.n_levels + 1)]
            raise PoolSpecError(
                f"--from {first}: no such step; there are: {', '.join([*levels, *self.steps])}"
            )
        return descendants(self.steps, name), True

    def _sync_shards(self, instance: dg.DagsterInstance) -> None:
        from curation_assets.defs.partitions import sync_partitions
        from curation_assets.formats import build_reader

        files = build_reader(self.spec.source, self.home.folder).list_files()
        known = self.storage.shards()
        shards = group_files(files, self.spec.source.files_per_shard, known)
        if shards != known:
            self.storage.save_shards(shards)
        for gone in {shard.key for shard in known} - {shard.key for shard in shards}:
            self.storage.remove_shard(gone, [step.name for step in self.steps.values() if step.partitioned])
        n_new, n_gone = sync_partitions(instance, self.spec, shards)
        if n_new or n_gone:
            self._say(f"{len(shards)} shards of {len(files)} files: {n_new} new, {n_gone} gone")

    def _chosen_shards(self, shard_keys: Sequence[str] | None) -> list[str]:
        every = [shard.key for shard in self.storage.shards()]
        if unknown := sorted(set(shard_keys or ()) - set(every)):
            raise PoolSpecError(
                f"--shards {unknown[0]}: no such shard; there are {len(every)}: {every[0]} to {every[-1]}"
            )
        return list(shard_keys or every)

    def _todo(self, wave: list[str], keys: list[str], forced: bool) -> dict[str, list[str | None]]:
        """Outputs of the wave to make: all if forced, else the out-of-date ones, judged as inputs are now."""
        freshness = Freshness(self.storage, self.steps, self.storage.shards())
        outdated = freshness.outdated()
        todo: dict[str, list[str | None]] = {}
        for name in wave:
            mine = [key for key in freshness.keys_of(self.steps[name]) if key is None or key in keys]
            if chosen := [key for key in mine if forced or key in outdated.get(name, {})]:
                todo[name] = chosen
        return todo

    def _run_wave(
        self,
        instance: dg.DagsterInstance,
        todo: dict[str, list[str | None]],
        keys: list[str],
        *,
        forced: bool,
    ) -> bool:
        partitioned = self.steps[next(iter(todo))].partitioned
        if not partitioned:
            return self._execute(instance, list(todo), {}, forced)
        from curation_assets.defs.step_runs import RANGE_END_TAG, RANGE_START_TAG

        ordered = list(instance.get_dynamic_partitions(f"{self.spec.name}_shards"))
        wanted = {key for chosen in todo.values() for key in chosen if key is not None}
        results = [
            self._execute(instance, list(todo), {RANGE_START_TAG: start, RANGE_END_TAG: end}, forced)
            for start, end in contiguous_blocks(ordered, wanted & set(keys))
        ]
        return all(results)

    def _execute(
        self, instance: dg.DagsterInstance, names: list[str], tags: dict[str, str], forced: bool
    ) -> bool:
        import dagster as dg

        from curation_assets.defs.jobs import whole_pool_job
        from curation_assets.defs.pool_definitions import build_definitions
        from curation_assets.defs.step_runs import FORCE_TAG

        job = build_definitions([self.spec], self.home).resolve_job_def(whole_pool_job(self.spec.name))
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey([self.spec.name, name]) for name in names],
            tags={**tags, PROCESS_TAG: process_name(), **({FORCE_TAG: "true"} if forced else {})},
            raise_on_error=False,
            run_config=_QUIET,
        )
        for evaluation in result.get_asset_check_evaluations():
            if not evaluation.passed:
                self._say(
                    f"check {evaluation.check_name} did not pass: {evaluation.description}", style="yellow"
                )
        if result.success:
            return True
        for event in result.all_events:
            if event.is_step_failure:
                data = event.step_failure_data
                message = data.user_failure_data.description if data.user_failure_data else None
                cause = data.error.cause if data.error and data.error.cause else data.error
                self._say(
                    f"{event.step_key} failed: {message or (cause.message.strip() if cause else '')}",
                    style="red",
                )
        self._say(
            f"details: runs of pool '{self.spec.name}' in `make dev`; finished work is kept", style="red"
        )
        return False

    def _show_result(self) -> None:
        facts = self.storage.output("selection").facts()
        if facts:
            for target, size in facts.summary["targets"].items():
                self._say(f"  target {target}: {size:,} of {facts.summary['n_rows']:,} samples")
        folder = self.storage.output("balanced_dataset").folder
        self._say(f"  dataset: {folder}")
        self._say(f"  report:  {self.storage.output('curation_report').path('curation_report.html')}")

    def _say(self, text: str, style: str | None = None) -> None:
        self.console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)
