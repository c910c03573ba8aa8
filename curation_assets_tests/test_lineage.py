"""Steps: what depends on what."""

from __future__ import annotations

from typing import Any

from curation_assets.lineage import ancestors, descendants, direct_inputs, fit_steps, pool_steps
from curation_assets.pools import PoolSpec
from curation_assets_tests.projects import SMALL_POOL


def spec_of(**changes: Any) -> PoolSpec:
    return PoolSpec.model_validate({"name": "p", **SMALL_POOL, **changes})


def test_a_level_without_resampling_has_clusters_and_assignments_only() -> None:
    steps = pool_steps(spec_of())
    assert [name for name in steps if name.startswith("level_3")] == ["level_3_clusters", "level_3_assign"]
    split = spec_of(levels=[{"n_clusters": 20, "n_coarse_clusters": 5}])
    assert [name for name in pool_steps(split) if name.startswith("level")] == [
        "level_1_clusters",
        "level_1_assign",
    ]


def test_descendants_and_direct_inputs() -> None:
    steps = pool_steps(spec_of())
    below = descendants(steps, "level_3_clusters")
    assert below == [
        "level_3_clusters", "level_3_assign", "tree", "drift", "selection", "ledger", "balanced_dataset",
        "atlas", "curation_report",
    ]  # fmt: skip
    assert direct_inputs(steps, "level_1_clusters") == ["level_1_resampled"]
    assert direct_inputs(steps, "level_2_assign") == ["level_2_clusters", "level_1_assign"]
    assert direct_inputs(steps, "level_1_assign") == ["embeddings", "level_1_clusters"]
    assert direct_inputs(steps, "selection") == ["tree", "drift"]
    for name, step in steps.items():
        assert set(direct_inputs(steps, name)) <= {*step.inputs, *step.after}


def test_ancestors_and_fit_steps() -> None:
    steps = pool_steps(spec_of())
    assert ancestors(steps, "level_1_clusters") == [
        "raw_pool", "embeddings", "level_1_initial", "level_1_resampled", "level_1_clusters",
    ]  # fmt: skip
    assert fit_steps(steps, 2) == ["level_2_initial", "level_2_resampled", "level_2_clusters"]
    assert [steps[name].level for name in fit_steps(steps)] == [1, 1, 1, 2, 2, 2, 3]
