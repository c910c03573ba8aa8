"""How a step runs as an asset: skip what is up to date, keep what succeeded, record what was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from curation_assets import progress
from curation_assets.defs.metadata import add_partition_metadata, summary_metadata
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.dead_runs import PROCESS_TAG, process_name
from curation_assets.defs.run.executors import steps_share_a_process
from curation_assets.defs.run.tags import FORCED_TAG, forced_of
from curation_assets.engines import Engine, LocalEngine, build_engine
from curation_assets.errors import StaleInputError
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.refit import choose_fit_rows
from curation_assets.graph.steps import Step, fit_steps, pool_steps
from curation_assets.pools import PoolSpec, resolve_engine
from curation_assets.steps.shard_task import MakeShard, ProduceShard, ShardItem, ShardOutcome
from curation_assets.storage.fit_rows import FitRows
from curation_assets.storage.outputs import Facts, OutputWriter, Recipe
from curation_assets.storage.pool_storage import PoolStorage

Report = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class StepRun:
    """One execution of a step's asset.

    Args:
        context: Dagster's; goes no further inward than here.
        curation: the project's resource.
        spec: the pool.
        step: the step to run.
    """

    context: dg.AssetExecutionContext
    curation: CurationResource
    spec: PoolSpec
    step: Step

    @property
    def storage(self) -> PoolStorage:
        """Outputs of the pool."""
        return self.curation.storage(self.spec.name)

    @property
    def engine(self) -> Engine:
        """Where the step's heavy work runs."""
        return build_engine(resolve_engine(self.spec.engine), self.spec.memory_budget)

    def over_shards(
        self,
        produce: ProduceShard,
        *,
        spreads: bool = False,
        on_made: Callable[[Facts], None] | None = None,
    ) -> dg.MaterializeResult:
        """Run `produce` for every shard of this run that is not up to date.

        A failing shard does not stop the others: what they made stays, is recorded in Dagster, and only the
        failed ones are made again by the next run.

        Args:
            produce: writes one shard's output; reports units (from 0 to 1) and a detail.
            spreads: the pool's engine shares the shards out among its workers.
            on_made: called for every output that was made.

        Raises:
            dagster.Failure: naming every failed shard with its error.
        """
        self._sign()
        keys = list(self.context.partition_keys)
        made: dict[str, Facts] = {}
        failures: dict[str, ShardOutcome] = {}
        items: list[ShardItem] = []
        freshness = self.freshness()
        freshness.read_facts(self.step.name, keys)
        for key in keys:
            try:
                known = self._known(freshness, key)
                if known is None:
                    items.append(self._item(freshness, key, len(made) + len(failures) + len(items)))
                else:
                    made[key] = known
            except StaleInputError as error:
                failures[key] = ShardOutcome(None, f"StaleInputError: {error}")
                self.context.log.error(f"shard '{key}': {error}")
        engine = self.engine if spreads and items else LocalEngine()
        n_skipped = len(made)
        more = {"tree_version": freshness.tree_version(self.step.level)} if self.step.level else {}
        with progress.task(self.step.name, len(keys), self.context.log.info) as report:
            make = MakeShard(self.storage, self.step.name, produce, more, report if engine.is_local else None)
            for number, outcome in engine.map(make, items):
                key = items[number].shard.key
                if outcome.facts is None:
                    self.context.log.error(f"shard '{key}' failed: {outcome.error}\n{outcome.trace}")
                    failures[key] = outcome
                else:
                    made[key] = outcome.facts
                    if on_made:
                        on_made(outcome.facts)
                report(len(made) + len(failures), f"shard {key}")
        # In the order of the run, not in that in which workers were done.
        made = {key: made[key] for key in keys if key in made}
        return self._shards_result(made, failures, n_skipped)

    def _known(self, freshness: Freshness, key: str | None) -> Facts | None:
        """Facts of an output that is up to date."""
        known = freshness.facts(self.step.name, key)
        return known if known is not None and freshness.reason(self.step.name, key) is None else None

    def _item(self, freshness: Freshness, key: str, position: int) -> ShardItem:
        shard = freshness.shards.get(key)
        if shard is None:
            raise StaleInputError(
                f"'{key}' is not a shard of pool '{self.spec.name}' any more: list its files again"
            )
        return ShardItem(shard, self._recipe(freshness, key), position)

    def _shards_result(
        self, made: Mapping[str, Facts], failures: Mapping[str, ShardOutcome], n_skipped: int
    ) -> dg.MaterializeResult:
        asset_key = self.context.asset_key
        if failures:
            # The run fails as a whole, and Dagster records nothing of it: say what was made all the same.
            for key, facts in made.items():
                self.context.log_event(
                    dg.AssetMaterialization(asset_key, partition=key, metadata=summary_metadata(facts))
                )
            lines = [f"shard '{key}': {outcome.error}" for key, outcome in failures.items()]
            raise dg.Failure(
                description=f"{len(failures)} of {len(failures) + len(made)} shards failed; the others are kept, "
                f"and only these run again:\n" + "\n".join(lines[:20]),
                metadata={"failed_shards": list(failures), "kept_shards": len(made)},
                allow_retries=any(outcome.is_transient for outcome in failures.values()),
            )
        add_partition_metadata(self.context, {key: summary_metadata(facts) for key, facts in made.items()})
        self.context.log.info(f"{len(made) - n_skipped} shards made, {n_skipped} were up to date")
        return dg.MaterializeResult(data_version=dg.DataVersion(self.step.config_fingerprint))

    def once(
        self,
        produce: Callable[[OutputWriter, Report], None],
        *,
        total: int = 1,
        extra_metadata: Callable[[], Mapping[str, Any]] | None = None,
    ) -> dg.MaterializeResult:
        """Run `produce` unless the step's one output is up to date.

        The first step of level 1, when it really runs, decides on all rows there are now as those of the fit.

        Args:
            produce: writes the output; reports units done and a detail.
            total: units of work.
            extra_metadata: pictures and tables for the UI, made from the stored output.
        """
        self._sign()
        freshness = self.freshness()
        if self.step.name == fit_steps(freshness.steps, 1)[0] and freshness.reason(self.step.name, None):
            choose_fit_rows(self.storage, freshness)
            freshness = self.freshness()
        with progress.task(self.step.name, total, self.context.log.info) as report:
            known = self._known(freshness, None)
            facts = known or self._make(freshness, lambda writer: produce(writer, report))
            report(total, "up to date" if known else "done")
        # The UI shows metadata in this order: pictures and key figures before counts.
        metadata = (dict(extra_metadata()) if extra_metadata else {}) | summary_metadata(facts)
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(facts.digest))

    def _sign(self) -> None:
        """Note this process on the run: if it is killed, whoever comes next closes the run and frees its slots."""
        run = self.context.run
        if not steps_share_a_process():
            return
        if PROCESS_TAG not in run.tags and self.context.instance.has_run(run.run_id):
            self.context.instance.add_run_tags(run.run_id, {PROCESS_TAG: process_name()})

    def standing_tree(self) -> tuple[str, FitRows]:
        """Version of the present tree, and the rows it is fitted on.

        Raises:
            StaleInputError: if level 1 has to be fitted anew.
        """
        freshness = self.freshness()
        if freshness.fit_rows() is None and not any(
            freshness.reason(name, None) for name in fit_steps(freshness.steps, 1)
        ):
            # A tree of version 0.1, which did not record its rows: up to date, so they are those there are.
            choose_fit_rows(self.storage, freshness)
            freshness = self.freshness()
        rows = freshness.fit_rows()
        if rows is None:
            raise StaleInputError(
                f"pool '{self.spec.name}' has no tree that stands: materialize level 1 first"
            )
        return str(freshness.tree_version()), rows

    def freshness(self) -> Freshness:
        """What is out of date now, with what this run makes again."""
        run = self.context.run
        record = self.context.instance.get_run_record_by_id(run.run_id) if FORCED_TAG in run.tags else None
        again = forced_of(run.tags, record.create_timestamp.timestamp() if record else 0.0)
        return Freshness(self.storage, pool_steps(self.spec), self.storage.shards(), again)

    def _make(self, freshness: Freshness, produce: Callable[[OutputWriter], None]) -> Facts:
        """Make the step's one output."""
        with self.storage.output(self.step.name).writing(self._recipe(freshness, None)) as writer:
            produce(writer)
            if self.step.level:
                writer.summary["tree_version"] = freshness.tree_version(self.step.level)
        return writer.stored()

    def _recipe(self, freshness: Freshness, key: str | None) -> Recipe:
        recipe = freshness.recipe(self.step.name, key)
        if recipe is None:
            missing = ", ".join(freshness.missing_inputs(self.step.name, key))
            raise StaleInputError(
                f"{self.step.name} needs {missing}, which is not made yet: materialize it first"
            )
        return recipe
