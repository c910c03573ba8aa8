"""What every asset of a pool has in common: key, lane, versions, partitions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from curation_assets.defs.partitions import pool_partitions
from curation_assets.errors import CurationError
from curation_assets.graph.steps import Step, direct_inputs, pool_steps
from curation_assets.pools import PoolSpec

INGEST, HIERARCHY, BALANCE, REPORT = "1_ingest", "2_hierarchy", "3_balance", "4_report"
GPU_POOL, MEMORY_POOL = "gpu", "memory"
_UNLIMITED = 1_000_000
# Only storage that does not answer is tried again (see StepRun.over_shards), and only for the failed shards.
_IO_RETRIES = dg.RetryPolicy(
    max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


def heavy_pool(name: str) -> str | None:
    """The Dagster pool of a step that should not run beside others of its kind; None for a light one."""
    if name in ("embeddings", "evaluation_sets") or name.endswith(("_initial", "_resampled", "_clusters")):
        return GPU_POOL
    return MEMORY_POOL if name in ("duplicates", "selection", "atlas", "curation_report") else None


def pool_limit(instance: dg.DagsterInstance, names: Iterable[str]) -> int:
    """How many runs may work on these steps at a time, as the instance limits their pools."""
    storage = instance.event_log_storage
    pools = {pool for name in names if (pool := heavy_pool(name))}
    if not pools or not storage.supports_global_concurrency_limits:
        return _UNLIMITED
    limits = [storage.get_concurrency_info(pool).limit for pool in pools]
    return min((limit for limit in limits if limit is not None), default=_UNLIMITED)


@dataclass(frozen=True, slots=True)
class PoolGraph:
    """Makes assets of one pool from its steps."""

    spec: PoolSpec
    steps: Mapping[str, Step]

    @classmethod
    def of(cls, spec: PoolSpec) -> PoolGraph:
        """The graph of a pool."""
        return cls(spec, pool_steps(spec))

    def asset(
        self, name: str, *, lane: str, kinds: set[str], description: str
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """Decorate the function that materializes step `name`.

        Args:
            name: of the step.
            lane: group in the graph view; lanes are drawn in alphabetical order.
            kinds: tags shown on the card.
            description: Markdown shown in the UI.
        """
        step = self.steps[name]
        as_asset = dg.asset(
            key=[self.spec.name, name],
            deps=[dg.AssetKey([self.spec.name, source]) for source in direct_inputs(self.steps, name)],
            partitions_def=pool_partitions(self.spec.name) if step.partitioned else None,
            # One run holds a range of shards, and the fan-in after them: see docs/dagster.md.
            backfill_policy=dg.BackfillPolicy.single_run(),
            group_name=f"{self.spec.name}_{lane}",
            kinds=kinds,
            description=description,
            code_version=step.config_fingerprint,
            pool=heavy_pool(name),
            retry_policy=_IO_RETRIES if step.partitioned else None,
        )
        return lambda materialize: as_asset(_without_retries_of_our_errors(materialize))


def _without_retries_of_our_errors(materialize: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose errors that name a remedy fail the step at once: another try would meet them again."""

    @functools.wraps(materialize)
    def guarded(*arguments: Any, **named: Any) -> Any:
        try:
            return materialize(*arguments, **named)
        except CurationError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error

    return guarded
