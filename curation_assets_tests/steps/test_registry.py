"""The registry: each declared step is bound to a function, and no function is left over."""

from __future__ import annotations

from typing import Any

import pytest

from curation_assets.defs.shown import SHOWN
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.steps.context import PoolAccess, StepContext
from curation_assets.steps.registry import STEPS
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.projects import SMALL_POOL

TEXTS = {"format": "jsonl", "path": "raw"}
# Every step there is: a cleaned pool with an atlas and a probe that counts tokens.
EVERYTHING: dict[str, Any] = {
    "name": "p",
    **SMALL_POOL,
    "source": TEXTS,
    "encoder": {"kind": "sentence_transformers", "model": "none"},
    "preprocessing": {},
    "tokenizer": "words",
    "probe": {"command": ["judge"]},
    "deduplication": {},
    "decontamination": {"evaluation_sets": [{"name": "test", "source": TEXTS}]},
}


def test_every_declared_step_is_bound_and_nothing_else() -> None:
    kinds = {step.kind for step in pool_steps(PoolSpec.model_validate(EVERYTHING)).values()}
    assert set(STEPS) == kinds
    assert set(SHOWN) <= kinds


def test_what_a_step_declares_is_complete() -> None:
    steps = pool_steps(PoolSpec.model_validate(EVERYTHING))
    for number, (name, step) in enumerate(steps.items()):
        assert step.description.endswith(".")
        assert step.badges
        assert {*step.inputs, *step.after} <= set(list(steps)[:number]), f"{name} comes after its inputs"


def test_a_step_of_the_pool_has_no_shard() -> None:
    spec = PoolSpec.model_validate(EVERYTHING)
    pool = PoolAccess(spec, PoolStorage("memory://", "p"))
    context = StepContext(pool, pool_steps(spec)["drift"], None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="step 'drift' has one output for the pool, not one per shard"):
        _ = context.shard
