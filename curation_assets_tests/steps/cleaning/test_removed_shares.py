"""Shards and labels that lose most of their samples as duplicates are named with examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.defs.checks import CHECKS
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.steps.cleaning.removed_shares import large_removals, removal_lines
from curation_assets.steps.context import PoolAccess
from curation_assets_tests.steps.duplicate_pool import IMAGE, DuplicatePool, Sample, at, make_spec

LABELLED = {**IMAGE, "source": {"path": "raw", "label_fields": ["kind"]}}


def dark(name: str, n: int, label: str | None) -> list[Sample]:
    """Samples that look alike."""
    return [Sample(f"{name}{i}", f"{name}{i}", at(0), label) for i in range(n)]


def different(name: str, n: int, label: str) -> list[Sample]:
    return [Sample(f"{name}{i}", f"{name}{i}", at(60 + 40 * i), label) for i in range(n)]


def pool_of(folder: Path, **settings: float) -> DuplicatePool:
    pool = DuplicatePool(folder, make_spec(LABELLED, {"keep": "first", **settings}))
    pool.put("a", [*different("a", 6, "photo"), *dark("x", 3, "mask")])
    pool.put("b", [*dark("y", 5, "mask"), *different("z", 1, "photo")])
    pool.deduplicate()
    return pool


def test_a_shard_and_a_label_are_named_with_examples(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    shard, label = sorted(large_removals(pool.spec, pool.storage), key=lambda group: group.n_samples)
    assert (shard.what, shard.n_removed, shard.n_samples) == ("shard 'b'", 6, 6)
    assert (label.what, label.n_removed, label.n_samples) == ("label kind = 'mask'", 7, 8)
    assert label.examples[0] == "x1 as a copy of x0 (cosine 1.000)"
    *found, remedy = removal_lines(pool.spec, pool.storage)
    assert found[1].startswith(
        "duplicates: removed 7 of 8 samples of label kind = 'mask' (88%), e.g. x1 as a copy of"
    )
    assert "max_removed_share = 75%" in remedy


def test_the_check_warns(tmp_path: Path) -> None:
    pool = pool_of(tmp_path)
    result = CHECKS["removals_are_few"].evaluate(PoolAccess(pool.spec, pool.storage))
    assert not result.passed
    assert "label kind = 'mask'" in str(result.description)
    allowed = pool_of(tmp_path / "more", max_removed_share=1.0)
    assert CHECKS["removals_are_few"].evaluate(PoolAccess(allowed.spec, allowed.storage)).passed


def test_few_removals_and_contaminated_samples_say_nothing(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, make_spec(LABELLED, {"keep": "first"}))
    pool.put("a", [*dark("x", 5, "mask"), *different("z", 3, "mask")])
    pool.deduplicate()
    assert large_removals(pool.spec, pool.storage) == [], "4 copies are too few to judge by"
    pool.put("b", dark("y", 5, None))
    pool.deduplicate()
    assert [group.what for group in large_removals(pool.spec, pool.storage)] == ["shard 'b'"]


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_the_limit_makes_nothing_out_of_date(share: float) -> None:
    def version(**settings: float) -> str:
        spec: PoolSpec = make_spec(IMAGE, settings)
        return pool_steps(spec)["duplicates"].config_fingerprint

    assert version(max_removed_share=share) == version()
    assert version(threshold=share) != version()
