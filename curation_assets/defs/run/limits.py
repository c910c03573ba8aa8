"""How many runs the instance allows at a time."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from curation_assets.graph.base import Step

_UNLIMITED = 1_000_000


def pool_limit(instance: dg.DagsterInstance, steps: Iterable[Step]) -> int:
    """How many runs may work on these steps at a time, as the instance limits their Dagster pools."""
    storage = instance.event_log_storage
    pools = {step.weight.value for step in steps if step.weight}
    if not pools or not storage.supports_global_concurrency_limits:
        return _UNLIMITED
    limits = [storage.get_concurrency_info(pool).limit for pool in pools]
    return min((limit for limit in limits if limit is not None), default=_UNLIMITED)
