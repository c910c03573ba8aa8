"""The levels of a pool once its rows are known, and what of its settings decides their fits."""

from __future__ import annotations

import pytest

from curation_assets.errors import PoolSpecError
from curation_assets.graph.levels import level_specs, why_dropped
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets_tests.projects import spec_of

FOUR = [{}, {}, {"resampling_steps": 3}, {"resampling_steps": 4}]


def sizes(spec: PoolSpec, n_samples: int) -> list[int]:
    return [level.n_clusters for level in level_specs(spec, n_samples)]


def test_auto_is_planned_for_the_largest_target_in_samples() -> None:
    targets = [
        {"name": "a", "size": 20},
        {"name": "b", "fraction": 0.1},
        {"name": "c", "fraction": 0.02},
    ]
    assert sizes(spec_of(levels=FOUR, targets=targets), 20_000) == [4000, 2000, 531, 141]
    tokens = spec_of(
        levels=FOUR,
        source={"format": "jsonl", "path": "data/raw"},
        encoder={"kind": "sentence_transformers", "model": "none"},
        targets=[{"name": "t", "tokens": 10**6}],
    )
    assert sizes(tokens, 20_000) == [4000, 2000, 531, 141], "as without a target"


def test_levels_at_the_top_are_dropped_and_the_others_keep_their_settings() -> None:
    spec = spec_of(levels=FOUR, targets=[{"name": "b", "fraction": 0.1}])
    levels = level_specs(spec, 1500)
    assert [(level.n_clusters, level.resampling_steps) for level in levels] == [(300, 0), (150, 10), (60, 3)]
    assert why_dropped(levels) == (
        "300 clusters at level 1 leave room for 3 levels, if neighbours differ by a factor of 1.7 or more. A dropped "
        "level repeats the clusters of level 3; to have it, set n_clusters at every level"
    )


def test_explicit_values_win() -> None:
    levels = [{"n_clusters": k} for k in (100, 99, 98)]
    assert sizes(spec_of(levels=levels), 200) == [100, 99, 98]
    with pytest.raises(PoolSpecError, match=r"levels\[0\].n_clusters is 100, but the pool has only 99"):
        level_specs(spec_of(levels=levels, targets=[{"name": "b", "size": 5}]), 99)


def test_the_largest_target_decides_a_planned_tree_and_no_other() -> None:
    def changed(levels: list[dict[str, int]], **target: float) -> set[str]:
        before, after = (
            pool_steps(spec_of(levels=levels, targets=[{"name": "b", "fraction": 0.1}, *more]))
            for more in ([], [{"name": "c", **target}])
        )
        names = {name for name in before if before[name].config_fingerprint != after[name].config_fingerprint}
        return {name for name in names if name.startswith("level")}

    planned: list[dict[str, int]] = [{}, {}]
    assert changed(planned, fraction=0.05) == set()
    assert changed(planned, fraction=0.2) == {"level_1_clusters"}
    assert changed(planned, size=50) == {"level_1_clusters"}
    assert changed([{"n_clusters": 9}, {"n_clusters": 3}], fraction=0.2) == set()


def test_the_share_of_a_collapsed_level_decides_no_fit() -> None:
    before, after = pool_steps(spec_of()), pool_steps(spec_of(max_share=0.5))
    changed = {name for name in before if before[name].config_fingerprint != after[name].config_fingerprint}
    assert "tree" in changed
    assert not any(name.startswith("level") for name in changed)
