"""How a step runs as an asset: skip what is up to date, keep what succeeded, record what was made."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg

from curation_assets import progress
from curation_assets.defs.dead_runs import PROCESS_TAG, process_name
from curation_assets.defs.executors import steps_share_a_process
from curation_assets.defs.metadata import add_partition_metadata, summary_metadata
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run_tags import AGAIN_TAG, again_of
from curation_assets.errors import StaleInputError
from curation_assets.freshness import Freshness
from curation_assets.lineage import Step, fit_steps, pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.refit import choose_fit_rows
from curation_assets.storage.atomic import Leftovers
from curation_assets.storage.fit_rows import FitRows
from curation_assets.storage.outputs import Facts, OutputWriter
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard

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
        self._sign()
        keys = list(self.context.partition_keys)
        freshness = self.freshness()
        freshness.read_facts(self.step.name, keys)
        leftovers = Leftovers()
        failures: dict[str, Exception] = {}
        made: dict[str, Facts] = {}
        n_skipped = 0
        with progress.task(self.step.name, len(keys), self.context.log.info) as report:
            for position, key in enumerate(keys):
                shard_report = partial(_report_shard, report, position, key)
                try:
                    facts, skipped = self._make_shard(freshness, key, produce, shard_report, leftovers)
                # Whatever one shard does, the work of the others stays.
                except Exception as error:
                    self.context.log.error(f"shard '{key}' failed: {error}\n{traceback.format_exc()}")
                    failures[key] = error
                else:
                    n_skipped += skipped
                    made[key] = facts
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
                allow_retries=any(_is_transient(error) for error in failures.values()),
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
            facts, skipped = self._make(freshness, None, lambda writer: produce(writer, report), Leftovers())
            report(total, "up to date" if skipped else "done")
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
        record = self.context.instance.get_run_record_by_id(run.run_id) if AGAIN_TAG in run.tags else None
        again = again_of(run.tags, record.create_timestamp.timestamp() if record else 0.0)
        return Freshness(self.storage, pool_steps(self.spec), self.storage.shards(), again)

    def _make_shard(
        self,
        freshness: Freshness,
        key: str,
        produce: Callable[[Shard, OutputWriter, Report], None],
        report: Report,
        leftovers: Leftovers,
    ) -> tuple[Facts, bool]:
        shard = freshness.shards.get(key)
        if shard is None:
            raise StaleInputError(
                f"'{key}' is not a shard of pool '{self.spec.name}' any more: list its files again"
            )
        return self._make(freshness, key, lambda writer: produce(shard, writer, report), leftovers)

    def _make(
        self,
        freshness: Freshness,
        key: str | None,
        produce: Callable[[OutputWriter], None],
        leftovers: Leftovers,
    ) -> tuple[Facts, bool]:
        """Make one output; returns its facts, and True if it was up to date already."""
        recipe = freshness.recipe(self.step.name, key)
        if recipe is None:
            missing = ", ".join(freshness.missing_inputs(self.step.name, key))
            raise StaleInputError(
                f"{self.step.name} needs {missing}, which is not made yet: materialize it first"
            )
        known = freshness.facts(self.step.name, key)
        if known is not None and freshness.reason(self.step.name, key) is None:
            return known, True
        with self.storage.output(self.step.name, key).writing(recipe, leftovers) as writer:
            produce(writer)
            if self.step.level:
                writer.summary["tree_version"] = freshness.tree_version(self.step.level)
        return writer.stored(), False


def _report_shard(report: Report, position: int, key: str, done: float, detail: str) -> None:
    report(position + min(done, 1.0), f"shard {key}: {detail}")


def _is_transient(error: BaseException) -> bool:
    """Whether storage did not answer, so that another try may succeed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(
            cause, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError
        ):
            return True
        cause = cause.__cause__
    return False
