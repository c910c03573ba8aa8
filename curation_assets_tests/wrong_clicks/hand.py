"""What a click does: GraphQL as the UI sends it, and its runs carried out at once in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.workspace.context import WorkspaceRequestContext
from dagster_graphql.test.utils import execute_dagster_graphql

from curation_assets.defs.run.tags import RANGE_END_TAG, RANGE_START_TAG
from curation_assets.graph.base import Step
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.steps import pool_steps
from curation_assets_tests.asset_backfills import workspace_of
from curation_assets_tests.projects import Project, copy_project

SHARDS = ["00000", "00001", "00002"]
_AT_ONCE = """
run_launcher:
  module: dagster._core.launcher.sync_in_memory_run_launcher
  class: SyncInMemoryRunLauncher
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
event_log_storage:
  module: dagster._core.storage.event_log.in_memory
  class: InMemoryEventLogStorage
"""
"""What is launched is carried out in this process before the launch returns, and kept in memory."""
ASSETS = "__ASSET_JOB"
"""The job of the button *Materialize*."""
_LAUNCH = """mutation Launch($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message }
  ... on RunConfigValidationInvalid { errors { message } }
} }"""
_AGAIN = """mutation Again($params: ReexecutionParams!) { launchPipelineReexecution(reexecutionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message }
} }"""
_BACKFILL = """mutation Backfill($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on Error { message }
} }"""
_WIPE = """mutation Wipe($ranges: [PartitionsByAssetSelector!]!) { wipeAssets(assetPartitionRanges: $ranges) {
  __typename ... on Error { message }
} }"""


@dataclass
class Shown:
    """What the UI shows of one or more clicks."""

    errors: list[str] = field(default_factory=list)
    """Of refused launches and failed steps."""
    made: set[tuple[str, str | None]] = field(default_factory=set)
    """Green: (asset, shard) that runs say they made."""
    reused: set[tuple[str, str | None]] = field(default_factory=set)
    """Green: (asset, shard) that were up to date."""
    failed_checks: dict[str, str] = field(default_factory=dict)
    """Check -> its words, severity ERROR."""
    warnings: dict[str, str] = field(default_factory=dict)
    """The same of severity WARN."""
    passed_checks: set[str] = field(default_factory=set)
    run_ids: list[str] = field(default_factory=list)

    @property
    def red(self) -> list[str]:
        """All that is red or refused, in words."""
        return [*self.errors, *self.failed_checks.values()]

    def __add__(self, other: Shown) -> Shown:
        return Shown(
            self.errors + other.errors,
            self.made | other.made,
            self.reused | other.reused,
            self.failed_checks | other.failed_checks,
            self.warnings | other.warnings,
            self.passed_checks | other.passed_checks,
            self.run_ids + other.run_ids,
        )


@dataclass
class Hand:
    """Clicks on a project of one pool."""

    project: Project
    instance: dg.DagsterInstance
    finished: Project
    """What the project is a copy of."""
    old_run: str
    """A successful run of the selection."""
    _stack: ExitStack
    _context: WorkspaceRequestContext | None = None

    @property
    def context(self) -> WorkspaceRequestContext:
        """The code location as last loaded."""
        if self._context is None:
            self._context = self._stack.enter_context(workspace_of(self.project, self.instance))
        return self._context

    @property
    def steps(self) -> dict[str, Step]:
        """Of the pool, as its YAML is now."""
        return pool_steps(self.project.spec)

    def reload(self) -> None:
        """Click on *Reload definitions*."""
        self._stack.close()
        self._context = None

    def write(self, settings: Mapping[str, Any]) -> None:
        """Edit the YAML and reload."""
        self.project.write_pool(dict(settings))
        self.reload()

    def raw(self, shard: str) -> Path:
        """The file of a shard."""
        return self.project.folder / "data" / "raw" / "emoji" / f"{shard}.tar"

    def materialize(
        self,
        *names: str,
        shards: Sequence[str] = (),
        job: str = ASSETS,
        tags: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        checks: Sequence[str] | None = None,
        resources: Mapping[str, Any] | None = None,
        pool: str = "emoji",
    ) -> Shown:
        """*Materialize* assets, or all of a job; or run some checks of the first one.

        `config` is that of each asset in the launch dialog, `resources` that of its resources.
        """
        every = dict(tags or {})
        if shards:
            every |= {RANGE_START_TAG: shards[0], RANGE_END_TAG: shards[-1]}
        selector: dict[str, Any] = {
            "repositoryLocationName": self.context.code_location_names[0],
            "repositoryName": "__repository__",
            "pipelineName": job,
        }
        if names:
            selector["assetSelection"] = [{"path": [pool, name]} for name in names if checks is None]
        if checks is not None:
            selector["assetCheckSelection"] = [
                {"assetKey": {"path": [pool, names[0]]}, "name": check} for check in checks
            ]
        given = {"ops": {f"{pool}__{name}": {"config": config} for name in names}} if config else {}
        given |= {"resources": resources} if resources else {}
        return self._launch(selector, every, given)

    def again(self, run_id: str, strategy: str) -> Shown:
        """*Re-execute* a run: ALL_STEPS or FROM_FAILURE."""
        answer = self.graphql(_AGAIN, {"parentRunId": run_id, "strategy": strategy})
        return self._seen(answer["launchPipelineReexecution"])

    def backfill(self, names: Sequence[str | Sequence[str]], shards: Sequence[str] | None) -> Shown:
        """Ask for a backfill; only refusals are of interest, as nobody carries it out."""
        paths = [["emoji", name] if isinstance(name, str) else list(name) for name in names]
        params: dict[str, Any] = {"assetSelection": [{"path": path} for path in paths]}
        params |= {"allPartitions": True} if shards is None else {"partitionNames": list(shards)}
        answer = self.graphql(_BACKFILL, params)["launchPartitionBackfill"]
        return Shown(errors=[answer["message"]] if "message" in answer else [])

    def wipe(self, name: str) -> Shown:
        """*Wipe materializations* of an asset."""
        answer = self.graphql(_WIPE, [{"assetKey": {"path": ["emoji", name]}}], name="ranges")["wipeAssets"]
        return Shown(errors=[answer["message"]] if "message" in answer else [])

    def graphql(self, query: str, params: Any, name: str = "params") -> dict[str, Any]:
        """The answer to a mutation."""
        # A run has a process of its own, which loads the definitions anew; in this one they are kept.
        ReconstructableJob.get_repository_definition.cache_clear()
        ReconstructableJob.get_definition.cache_clear()
        data: dict[str, Any] = execute_dagster_graphql(self.context, query, {name: params}).data
        return data

    def green_but_out_of_date(self, shown: Shown) -> set[tuple[str, str | None]]:
        """Outputs that the runs showed green and that are not what the settings and files of now ask for."""
        storage = self.project.storage
        outdated = Freshness(storage, self.steps, storage.shards()).outdated()
        return {(name, key) for name, key in shown.made | shown.reused if key in outdated.get(name, {})}

    def _launch(
        self, selector: Mapping[str, Any], tags: Mapping[str, str], config: Mapping[str, Any]
    ) -> Shown:
        params = {
            "selector": selector,
            "mode": "default",
            "runConfigData": {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, **config},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        try:
            answer = self.graphql(_LAUNCH, params)["launchPipelineExecution"]
        except dg.DagsterError as error:
            # The UI shows it as a dialog with the error.
            return Shown(errors=[str(error)])
        return self._seen(answer)

    def _seen(self, answer: Mapping[str, Any]) -> Shown:
        if "run" not in answer:
            errors = [str(entry["message"]) for entry in answer.get("errors", [answer])]
            return Shown(errors=errors)
        run_id = answer["run"]["runId"]
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        shown = Shown(run_ids=[run_id])
        failed: set[tuple[str, str | None]] = set()
        for record in self.instance.all_logs(run_id):
            event = record.dagster_event
            if event is None:
                continue
            if event.is_step_failure:
                data = event.step_failure_data.user_failure_data
                shown.errors.append(str(data.description if data else event.step_failure_data.error))
            elif event.is_failure:
                failed.add((event.message or "", None))
            elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
                found = event.step_materialization_data.materialization
                place = (found.asset_key.path[-1], found.partition)
                (shown.reused if "reused" in found.metadata else shown.made).add(place)
            elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                check = event.asset_check_evaluation_data
                if check.passed:
                    shown.passed_checks.add(check.check_name)
                else:
                    severe = check.severity == dg.AssetCheckSeverity.ERROR
                    kind = shown.failed_checks if severe else shown.warnings
                    kind[check.check_name] = check.description or ""
        if not shown.errors and run.status != dg.DagsterRunStatus.SUCCESS:
            shown.errors += [message for message, _ in failed] or [str(run.status)]
        return shown


@contextmanager
def hand_on(finished: Project, folder: Path, *, with_run: bool = False) -> Iterator[Hand]:
    """A hand on a copy of a curated project, with a run of its selection."""
    project = copy_project(finished, folder)
    settings = project.home.dagster_state / "dagster.yaml"
    settings.write_text(settings.read_text() + _AT_ONCE)
    with project.instance() as instance, ExitStack() as stack:
        instance.add_dynamic_partitions("emoji_shards", SHARDS)
        hand = Hand(project, instance, finished, "", stack)
        [hand.old_run] = hand.materialize("selection").run_ids if with_run else [""]
        yield hand


@dataclass(frozen=True)
class Wrong:
    """Something wrong that is done on purpose."""

    says: str
    """Part of what is shown in red; most name the remedy."""
    do: Callable[[Hand], Shown]
    mend: Callable[[Hand], object] = lambda hand: None
    """What undoes it by hand; everything else is done by a run of the pool."""


def clicks(says: str, *names: str, **how: Any) -> Wrong:
    """Materialize assets, see `Hand.materialize`."""
    return Wrong(says, lambda hand: hand.materialize(*names, **how))
