"""How a step runs as an asset: skip what is up to date, keep what succeeded, record what was made."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg

from curation_assets import progress
from curation_assets.defs.metadata import summary_metadata
from curation_assets.defs.resources import CurationResource
from curation_assets.errors import StaleInputError
from curation_assets.lineage import Freshness, Step, pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.storage.outputs import Facts, OutputWriter
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard

FORCE_TAG = "curation/force"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
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

    def over_shards(self, produce: Callable[[Shard, OutputWriter, Report], None]) -> dg.MaterializeResult:
        """Run `produce` for every shard of this run that is not up to date.

        A failing shard does not stop the others: what they made stays, is recorded in Dagster, and only the
        failed ones are made again by the next run.

        Args:
            produce: writes one shard's output; reports units (from 0 to 1) and a detail.

        Raises:
            dagster.Failure: naming every failed shard with its error.
        """
        freshness = self._freshness()
        keys = list(self.context.partition_keys)
        failures: dict[str, Exception] = {}
        made: dict[str, Facts] = {}
        n_skipped = 0
        with progress.task(self.step.name, len(keys), self.context.log.info) as report:
            for position, key in enumerate(keys):
                shard_report = partial(_report_shard, report, position, key)
                try:
                    skipped = self._make_shard(freshness, key, produce, shard_report)
                # Whatever one shard does, the work of the others stays.
                except Exception as error:
                    self.context.log.error(f"shard '{key}' failed: {error}\n{traceback.format_exc()}")
                    failures[key] = error
                else:
                    n_skipped += skipped
                    made[key] = self.storage.output(self.step.name, key).require_facts()
                report(position + 1, f"shard {key}")
        return self._shards_result(made, failures, n_skipped)

    def _shards_result(
        self, made: Mapping[str, Facts], failures: Mapping[str, Exception], n_skipped: int
    ) -> dg.MaterializeResult:
        asset_key = self.context.asset_key
        if failures:
            # The run fails as a whole, and Dagster records nothing of it: say what was made all the same.
            for key, facts in made.items():
                self.context.log_event(
                    dg.AssetMaterialization(asset_key, partition=key, metadata=summary_metadata(facts))
                )
            lines = [f"shard '{key}': {type(error).__name__}: {error}" for key, error in failures.items()]
            raise dg.Failure(
                description=f"{len(failures)} of {len(failures) + len(made)} shards failed; the others are kept, "
                f"and only these run again:\n" + "\n".join(lines[:20]),
                metadata={"failed_shards": list(failures), "kept_shards": len(made)},
                allow_retries=False,
            )
        for key, facts in made.items():
            self.context.add_asset_metadata(summary_metadata(facts), partition_key=key)
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

        Args:
            produce: writes the output; reports units done and a detail.
            total: units of work.
            extra_metadata: pictures and tables for the UI, made from the stored output.
        """
        freshness = self._freshness()
        with progress.task(self.step.name, total, self.context.log.info) as report:
            skipped = self._make(freshness, None, lambda writer: produce(writer, report))
            report(total, "up to date" if skipped else "done")
        facts = self.storage.output(self.step.name).require_facts()
        # The UI shows metadata in this order: pictures and key figures before counts.
        metadata = (dict(extra_metadata()) if extra_metadata else {}) | summary_metadata(facts)
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(facts.digest))

    def _freshness(self) -> Freshness:
        return Freshness(self.storage, pool_steps(self.spec), self.storage.shards())

    def _make_shard(
        self,
        freshness: Freshness,
        key: str,
        produce: Callable[[Shard, OutputWriter, Report], None],
        report: Report,
    ) -> bool:
        shard = freshness.shards.get(key)
        if shard is None:
            raise StaleInputError(
                f"'{key}' is not a shard of pool '{self.spec.name}' any more: list its files again"
            )
        return self._make(freshness, key, lambda writer: produce(shard, writer, report))

    def _make(self, freshness: Freshness, key: str | None, produce: Callable[[OutputWriter], None]) -> bool:
        """Make one output; returns True if it was up to date already."""
        recipe = freshness.recipe(self.step.name, key)
        if recipe is None:
            raise StaleInputError(
                f"{self.step.name}: {freshness.reason(self.step.name, key)}: materialize it first"
            )
        facts = freshness.facts(self.step.name, key)
        if facts and facts.fingerprint == recipe.fingerprint and not self._is_forced():
            return True
        with self.storage.output(self.step.name, key).writing(recipe) as writer:
            produce(writer)
        return False

    def _is_forced(self) -> bool:
        return self.context.run.tags.get(FORCE_TAG) == "true"


def _report_shard(report: Report, position: int, key: str, done: float, detail: str) -> None:
    report(position + min(done, 1.0), f"shard {key}: {detail}")
