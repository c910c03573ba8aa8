"""How many runs the pools of the instance allow."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from curation_assets.defs.run.limits import pool_limit
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets_tests.projects import SMALL_POOL


def test_heavy_steps_are_limited_by_their_pool_and_light_ones_are_not(tmp_path: Path) -> None:
    steps = pool_steps(PoolSpec.model_validate({"name": "p", **SMALL_POOL}))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.event_log_storage.set_concurrency_slots("gpu", 1)
        instance.event_log_storage.set_concurrency_slots("memory", 2)
        assert pool_limit(instance, [steps["embeddings"], steps["selection"]]) == 1
        assert pool_limit(instance, [steps["selection"], steps["ledger"]]) == 2
        assert pool_limit(instance, [steps["raw_pool"], steps["ledger"]]) > 1_000
