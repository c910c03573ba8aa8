"""How a step runs as an asset: skip what is up to date, keep what succeeded, record what was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg

from curation_assets import progress
from curation_assets.defs.keys import asset_key
from curation_assets.defs.metadata import (
    add_partition_metadata,
    nothing_done,
    reused_metadata,
    summary_metadata,
)
from curation_assets.defs.run.dead_runs import PROCESS_TAG, process_tag
from curation_assets.defs.run.event_times import EventTimes
from curation_assets.defs.run.executors import steps_share_a_process
from curation_assets.defs.run.gate import gate_of
from curation_assets.defs.run.interrupts import stop_if_interrupted
from curation_assets.defs.run.locks import require_claim, step_at_work
from curation_assets.defs.run.memory import memory_given_back
from curation_assets.defs.run.tags import FORCED_TAG, forced_of, is_planned
from curation_assets.engines import Engine, LocalEngine, build_engine
from curation_assets.errors import DamagedFileError, StaleInputError
from curation_assets.graph.base import ExtraInput, Step
from curation_assets.graph.freshness import Forced, Freshness
from curation_assets.graph.refit import choose_fit_rows
from curation_assets.graph.relations import fit_steps
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import resolve_engine
from curation_assets.steps.context import PoolAccess, Report, StepContext
from curation_assets.steps.listing import take_in_files
from curation_assets.steps.registry import StepCode, code_of
from curation_assets.steps.shard_task import MakeShard, ShardItem, ShardOutcome
from curation_assets.storage.intact import damaged_file
from curation_assets.storage.outputs import Facts, Output, Recipe, timestamp
from curation_assets.storage.tables import Embedded

Shown = Callable[[PoolAccess, Output], Mapping[str, Any]]
"""Makes pictures and tables for the UI from a stored output."""


@dataclass(frozen=True)
class StepRun:
    """One execution of a step's asset.

    Args:
        context: Dagster's; goes no further inward than here.
        shown: makes the metadata of the step, besides its summary.
        again: make it even if it is up to date.
    """

    context: dg.AssetExecutionContext
    pool: PoolAccess
    step: Step
    shown: Shown | None = None
    again: bool = False

    @property
    def engine(self) -> Engine:
        """Where the step's heavy work runs; only steps that spread use the engine of the pool."""
        spec = self.pool.spec
        if not self.step.spreads:
            return LocalEngine()
        return build_engine(resolve_engine(spec.engine), spec.memory_budget)

    @cached_property
    def code(self) -> StepCode:
        """What makes the step."""
        return code_of(self.step)

    @cached_property
    def times(self) -> EventTimes:
        """When each event of the step happened."""
        return EventTimes(self.context.instance)

    def run(self) -> dg.MaterializeResult:
        """Make what is not up to date.

        Raises:
            StaleInputError: if what every output is made from is out of date.
            PoolBusyError: if another process has claimed the pool.
            dagster.Failure: naming every failed shard with its error.
        """
        stop_if_interrupted()
        self._sign()
        run_id, say = self.context.run.run_id, self.context.log.warning
        with step_at_work(self.pool.storage, self.context.instance, run_id, self.step.name, say):
            return self._run()

    def _run(self) -> dg.MaterializeResult:
        self.context.log.addFilter(self.times)
        keys: list[Any] = list(self.context.partition_keys) if self.step.partitioned else [None]
        refused = self._without_files(keys)
        freshness, gate = self.freshness(), gate_of(self.context.run.run_id)
        present = [key for key in keys if key is None or key in freshness.shards]
        stale = gate.refusals(self.pool.spec.name, freshness, self.step, present)
        if stale and len(stale) == len(keys):
            raise StaleInputError(next(iter(stale.values())))
        if self.code.before:
            self.code.before(self.pool)
        with memory_given_back():
            result = (
                self._over_shards(freshness, keys, refused | stale)
                if self.step.partitioned
                else self._once(freshness)
            )
        gate.passed(self.step, keys)
        return result

    def _over_shards(
        self, freshness: Freshness, keys: list[str], refused: Mapping[Any, str]
    ) -> dg.MaterializeResult:
        """Make the shards of this run that are not up to date.

        A failing shard does not stop the others. Their outputs stay and are recorded in Dagster, and the next run
        makes only the failed ones.
        """
        made: dict[str, Facts] = {}
        failures: dict[str, ShardOutcome] = {}
        items: list[ShardItem] = []
        for key, why in refused.items():
            failures[key] = ShardOutcome(None, why)
            self.context.log.error(f"shard '{key}': {why}")
        freshness.read_facts(self.step.name, keys)
        for key in keys:
            if key in failures:
                continue
            try:
                known = self._known(freshness, key)
                if known is None:
                    items.append(self._item(freshness, key, len(made) + len(failures) + len(items)))
                else:
                    made[key] = known
            except (StaleInputError, DamagedFileError) as error:
                failures[key] = ShardOutcome(None, f"{type(error).__name__}: {error}")
                self.context.log.error(f"shard '{key}': {error}")
        engine = self.engine if items else LocalEngine()
        new: list[Facts] = []
        more = {"tree_version": freshness.tree_version(self.step.level)} if self.step.level else {}
        with progress.task(self.step.name, len(keys), self.context.log.info) as report:
            if items:
                report(len(made) + len(failures), f"{len(made):,} up to date" if made else "")
            make = MakeShard(self.pool, self.step, self.code.make, more, report if engine.is_local else None)
            for number, outcome in engine.map(make, items):
                key = items[number].shard.key
                if outcome.facts is None:
                    self.context.log.error(f"shard '{key}' failed: {outcome.error}\n{outcome.trace}")
                    failures[key] = outcome
                else:
                    made[key] = outcome.facts
                    new.append(outcome.facts)
                report(len(made) + len(failures), f"shard {key}")
                require_claim(self.pool.storage)
                if outcome.stops_others and engine.is_local:
                    # Each of them would work for as long and meet the same: no model, or no room for what it makes.
                    rest = [item.shard.key for item in items[number + 1 :]]
                    failures |= {left: ShardOutcome(None, f"not tried, see shard '{key}'") for left in rest}
                    break
        # In the order of the run, not in that in which workers finished.
        made = {key: made[key] for key in keys if key in made}
        result = self._shards_result(made, failures, {item.shard.key for item in items})
        if self.code.summarise and (line := self.code.summarise(new)):
            self.context.log.info(f"{self.step.name} of this run: {line}")
        return result

    def _without_files(self, keys: list[Any]) -> dict[Any, str]:
        """Shards whose files are gone, with what to do. A step that reads files lists them, unless its driver has."""
        if ExtraInput.SHARD_FILES not in self.step.extra_inputs or is_planned(self.context.run.tags):
            return {}
        return take_in_files(self.pool, keys, self.context.log.warning)

    def _known(self, freshness: Freshness, key: str | None) -> Facts | None:
        """Facts of an output that is up to date."""
        known = freshness.facts(self.step.name, key)
        return known if known is not None and freshness.reason(self.step.name, key) is None else None

    def _item(self, freshness: Freshness, key: str, position: int) -> ShardItem:
        shard = freshness.shards.get(key)
        if shard is None:
            raise StaleInputError(
                f"'{key}' is no longer a shard of pool '{self.pool.spec.name}': list its files again"
            )
        recipe = self._recipe(freshness, key)
        self._require_intact(freshness, key)
        return ShardItem(shard, recipe, position)

    def _shards_result(
        self, made: Mapping[str, Facts], failures: Mapping[str, ShardOutcome], tried: set[str]
    ) -> dg.MaterializeResult:
        metadata = {
            key: self._metadata(facts, key, is_reused=key not in tried) for key, facts in made.items()
        }
        self.times.plan(made)
        if failures:
            # Dagster records nothing of a failed run, so what was made is reported here.
            for key in made:
                self.context.log_event(
                    dg.AssetMaterialization(self.context.asset_key, partition=key, metadata=metadata[key])
                )
            lines = [f"shard '{key}': {outcome.error}" for key, outcome in failures.items()]
            raise dg.Failure(
                description=f"{len(failures)} of {len(failures) + len(made)} shards failed; the others are kept, "
                f"and only these run again:\n" + "\n".join(lines[:20]),
                metadata={"failed_shards": list(failures), "kept_shards": len(made)},
                allow_retries=any(outcome.is_transient for outcome in failures.values()),
            )
        add_partition_metadata(self.context, metadata)
        reused = [facts for key, facts in made.items() if key not in tried]
        self.context.log.info(
            nothing_done(reused)
            if len(reused) == len(made)
            else f"{len(made) - len(reused)} shards made, {len(reused)} were up to date"
        )
        return dg.MaterializeResult(data_version=dg.DataVersion(self.step.config_fingerprint))

    def _once(self, freshness: Freshness) -> dg.MaterializeResult:
        """Make the step's one output unless it is up to date.

        When the first step of level 1 is not up to date, all present rows become the rows of the fit. If only its files
        are lost, the fit is repeated on the rows that it had.
        """
        name = self.step.name
        fits_anew = freshness.reason(name, None) and not freshness.is_merely_lost(name, None)
        if fits_anew and name == fit_steps(freshness.steps, 1)[0]:
            choose_fit_rows(self.pool.storage, freshness)
            freshness = self.freshness()
        with progress.task(name, 1, self.context.log.info) as report:
            known = self._known(freshness, None)
            if known is None:
                self._require_intact(freshness, None)
            facts = known or self._make(freshness, report)
            report(1.0, "up to date" if known else "done")
        if known:
            self.context.log.info(nothing_done([known]))
        return dg.MaterializeResult(
            metadata=self._metadata(facts, None, is_reused=known is not None),
            data_version=dg.DataVersion(facts.digest),
        )

    def _metadata(self, facts: Facts, key: str | None, *, is_reused: bool) -> dict[str, Any]:
        """What the UI shows, in this order: that nothing was done, pictures and key figures, counts."""
        output = self.pool.storage.output(self.step.name, key)
        shown = dict(self.shown(self.pool, output)) if self.shown else {}
        return (
            (reused_metadata(facts) if is_reused else {})
            | shown
            | summary_metadata(
                facts, [target.name for target in self.pool.spec.targets], is_partition=key is not None
            )
        )

    def _sign(self) -> None:
        """Note this process on the run; if it is killed, the next process closes the run and frees its slots."""
        run = self.context.run
        if not steps_share_a_process(self.context.job_def.executor_def):
            return
        mine = process_tag()
        # A run that is executed again has a copy of the tag of the first time.
        if run.tags.get(PROCESS_TAG) != mine[PROCESS_TAG] and self.context.instance.has_run(run.run_id):
            self.context.instance.add_run_tags(run.run_id, mine)

    def freshness(self) -> Freshness:
        """What is out of date now, including what this run rebuilds."""
        run, began = self.context.run, 0.0
        if (self.again or FORCED_TAG in run.tags) and (
            record := self.context.instance.get_run_record_by_id(run.run_id)
        ):
            began = record.create_timestamp.timestamp()
        again = Forced(frozenset([self.step.name]), timestamp(began)) if self.again else None
        steps, shards = pool_steps(self.pool.spec), self.pool.storage.shards()
        return Freshness(self.pool.storage, steps, shards, forced_of(run.tags, began), again)

    def _make(self, freshness: Freshness, report: Report) -> Facts:
        """Make the step's one output."""
        name = self.step.name
        with self.pool.storage.output(name).writing(self._recipe(freshness, None)) as writer:
            self.code.make(
                StepContext(
                    self.pool,
                    self.step,
                    writer,
                    engine=self.engine,
                    report=report,
                    log=self.context.log.info,
                    observe=self._observe,
                    forced=freshness.is_forced(name, None),
                )
            )
            if self.step.level:
                writer.summary["tree_version"] = freshness.tree_version(self.step.level)
        return writer.stored()

    def _observe(self, step: str, shard: str | None, figures: Mapping[str, Any]) -> None:
        """Show figures on another step, or on one of its shards."""
        key = asset_key(self.pool.spec, step)
        self.context.log_event(dg.AssetObservation(key, partition=shard, metadata=figures))

    def _require_intact(self, freshness: Freshness, key: str | None) -> None:
        """Refuse inputs that are not what was written.

        Raises:
            DamagedFileError: naming the file and the remedy.
        """
        storage = self.pool.storage
        for name in self.step.inputs:
            if name == Embedded.asset and not self.step.reads_every_vector:
                continue
            source = freshness.steps[name]
            for shard in [key] if source.partitioned and key is not None else freshness.keys_of(source):
                facts = freshness.facts(name, shard)
                if facts and (damage := damaged_file(storage.output(name, shard), facts)):
                    raise DamagedFileError(
                        f"{damage}: `curation-assets verify --pool {storage.pool} --repair` removes what is damaged, "
                        f"and the next run makes it again"
                    )

    def _recipe(self, freshness: Freshness, key: str | None) -> Recipe:
        recipe = freshness.recipe(self.step.name, key)
        if recipe is None:
            missing = ", ".join(freshness.missing_inputs(self.step.name, key))
            raise StaleInputError(
                f"{self.step.name} needs {missing}, which does not exist yet: materialize it first"
            )
        return recipe
