"""Makes an output by the function of its step, without Dagster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation_assets.formats.base import ShardReader
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.steps.context import PoolAccess, StepContext
from curation_assets.steps.registry import code_of
from curation_assets.storage.outputs import Output, Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard

RECIPE = Recipe({}, {}, "1")


def make(
    spec: PoolSpec,
    storage: PoolStorage,
    name: str,
    shard: Shard | str | None = None,
    *,
    reader: ShardReader | None = None,
    home: Path | str = ".",
    recipe: Recipe = RECIPE,
    **more: Any,
) -> Output:
    """Make one output of a pool; `more` goes into the step's context."""
    pool = PoolAccess(spec, storage, str(home))
    if reader is not None:
        vars(pool)["reader"] = reader
    step = pool_steps(spec)[name]
    part = Shard(shard, ()) if isinstance(shard, str) else shard
    output = storage.output(name, part.key if part else None)
    with output.writing(recipe) as writer:
        code_of(step).make(StepContext(pool, step, writer, part, **more))
    return output
