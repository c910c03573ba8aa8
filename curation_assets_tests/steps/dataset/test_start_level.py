"""From which level a target is balanced: named, measured without labels, or taken from the probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation_assets.errors import CurationError
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec, TargetSettings
from curation_assets.steps.dataset import start_level
from curation_assets.steps.dataset.start_level import probed_level
from curation_assets.storage.tables import Selection
from curation_assets_tests.steps.built_pool import BuiltPool, Text

# Level 1 is good: a cluster for each of 24 topics. Level 2 joins 20 of them, among them the largest, and leaves one
# topic in each of its other clusters; level 3 joins two of those. The largest clusters hold 26, 93 and 93 %.
PARENTS = [[0] * 20 + [1, 2, 3, 4], [0, 1, 2, 3, 3]]
SIZES = [150, 100, 50, 40, 30, 20, 20, *[10] * 17]


def topics(n_dimensions: int = 32) -> list[Text]:
    """Samples of each topic lie around a corner of their own."""
    rng = np.random.default_rng(0)
    rows = []
    for topic, size in enumerate(SIZES):
        for i in range(size):
            vector = rng.normal(scale=0.05, size=n_dimensions)
            vector[topic] += 1
            rows.append(Text(f"{topic}-{i}", topic, 10 + i % 7, vector=tuple(vector.tolist())))
    return rows


def sharded(rows: Sequence[Text], n_shards: int) -> dict[str, Sequence[Text]]:
    return {f"s{number}": rows[number::n_shards] for number in range(n_shards)}


def curated(folder: Path, *targets: Mapping[str, Any], n_shards: int = 3, **settings: Any) -> BuiltPool:
    pool = BuiltPool(
        folder,
        sharded(topics(), n_shards),
        n_clusters=len(SIZES),
        parents=PARENTS,
        targets=targets,
        **settings,
    )
    pool.select()
    return pool


def summary_of(pool: BuiltPool) -> Mapping[str, Any]:
    return pool.storage.selection().require_facts().summary


AUTO = {"name": "t", "size": 48, "balance_from": "auto"}


def test_a_collapsed_top_level_is_not_balanced_from(tmp_path: Path) -> None:
    pool = curated(tmp_path, AUTO)
    summary = summary_of(pool)
    assert (summary["balance_from"], summary["chosen_by"]) == ({"t": 1}, {"t": "measures"})
    table = pool.storage.selection().start_levels.read()
    assert table.schema == pl.Schema(Selection.start_levels.schema)
    assert table.select("target", "level", "collapsed", "chosen").rows() == [
        ("t", 1, False, True), ("t", 2, True, False), ("t", 3, True, False),
    ]  # fmt: skip
    # 48 samples of 24 topics: two of each from level 1, and far fewer topics where 20 of them share a fifth.
    measured = dict(table.select("level", "vendi").iter_rows())
    assert measured[1] > 1.5 * measured[2]
    taken = pool.storage.selection().selected.read()["level_1"].value_counts()["count"]
    assert len(taken) == 24
    quotas = pool.storage.selection().quotas.read().filter(pl.col("level") == 3)
    assert quotas["quota"].sum() == 48, "levels above are sums of their children"


def test_the_pool_says_how_much_one_cluster_may_hold(tmp_path: Path) -> None:
    strict = curated(tmp_path / "strict", AUTO, max_share=0.2)
    table = strict.storage.selection().start_levels.read()
    assert table["collapsed"].to_list() == [True] * 3
    assert summary_of(strict)["balance_from"] == {"t": 1}, "if all have collapsed, the scores decide"
    steps = [
        pool_steps(
            PoolSpec.model_validate({**strict.spec.model_dump(), "targets": [target], "max_share": share})
        )
        for target in (AUTO, {**AUTO, "balance_from": "level_2"})
        for share in (0.2, 0.3)
    ]
    measured, other, named, same = (step["selection"].config_fingerprint for step in steps)
    assert measured != other
    assert named == same, "nothing is measured for a level that is named"


def test_the_choice_depends_on_neither_shards_nor_seed_nor_strategy_of_the_target(tmp_path: Path) -> None:
    one = curated(tmp_path / "one", AUTO)
    table = one.storage.selection().start_levels.read()
    many = curated(tmp_path / "many", AUTO, n_shards=7)
    assert many.storage.selection().start_levels.read().equals(table)
    chosen = [set(pool.storage.selection().selected.read()["sample_id"]) for pool in (one, many)]
    assert chosen[0] == chosen[1]
    other = curated(tmp_path / "other", {**AUTO, "seed": 9, "strategy": "closest", "evenness": 0.2})
    assert other.storage.selection().start_levels.read().equals(table)
    assert set(other.storage.selection().selected.read()["sample_id"]) != chosen[0]


def test_a_level_that_repeats_the_one_below_is_no_choice(tmp_path: Path) -> None:
    pool = BuiltPool(tmp_path, sharded(topics(), 2), n_clusters=24, parents=[list(range(24))], targets=[AUTO])
    pool.select()
    assert summary_of(pool)["balance_from"] == {"t": 1}
    assert pool.storage.selection().start_levels.read().is_empty()


def test_targets_share_one_yardstick_and_those_that_name_a_level_need_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    fit = start_level.fit_yardstick

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return fit(*arguments)

    monkeypatch.setattr(start_level, "fit_yardstick", counted)
    named = curated(tmp_path / "named", {"name": "t", "size": 48, "balance_from": "level_2"})
    assert calls == []
    assert (summary_of(named)["balance_from"], summary_of(named)["chosen_by"]) == ({"t": 2}, {"t": "name"})
    assert named.storage.selection().start_levels.read().is_empty()
    tokens = {"name": "tokens", "tokens": 900, "balance_from": "auto"}
    both = curated(tmp_path / "both", AUTO, {**AUTO, "name": "again", "seed": 3}, tokens)
    assert calls == [1]
    assert summary_of(both)["balance_from"] == {"t": 1, "again": 1, "tokens": 1}
    measured = both.storage.selection().start_levels.read().partition_by("target", as_dict=True)
    assert measured["t",].drop("target").equals(measured["again",].drop("target"))
    assert not measured["t",].drop("target").equals(measured["tokens",].drop("target"))


def test_a_pool_of_three_samples_has_a_start_level(tmp_path: Path) -> None:
    texts = {"a": topics()[:3]}
    pool = BuiltPool(tmp_path, texts, n_clusters=24, parents=PARENTS, targets=[{**AUTO, "size": 2}], seed=4)
    assert len(pool.select()) == 2


def accuracy(*rows: tuple[str, int, str, float, float]) -> pl.DataFrame:
    columns = ("subset", "level", "probe", "mean", "spread")
    table = pl.DataFrame([dict(zip(columns, row, strict=True)) for row in rows])
    return table.select(pl.lit("t").alias("target"), pl.lit("kind").alias("field"), pl.all())


def test_the_probe_chooses_by_the_mean_of_both_probes() -> None:
    target = TargetSettings.model_validate({**AUTO, "balance_from": {"by": "probe"}})
    table = accuracy(
        ("random", None, "linear", 0.9, 0.0),  # type: ignore[arg-type]
        ("level_1", 1, "nearest_neighbour", 0.50, 0.02),
        ("level_1", 1, "linear", 0.60, 0.02),
        ("level_2", 2, "nearest_neighbour", 0.60, 0.02),
        ("level_2", 2, "linear", 0.62, 0.02),
        ("level_3", 3, "nearest_neighbour", 0.58, 0.02),
        ("level_3", 3, "linear", 0.60, 0.02),
        ("level_4", 4, "nearest_neighbour", 0.57, 0.02),
        ("level_4", 4, "linear", 0.60, 0.02),
        ("chosen", 1, "linear", 0.99, 0.02),
    )
    assert probed_level(table, target) == 3, "0.59 is within 0.02 of 0.61, 0.585 is not"
    with pytest.raises(CurationError, match=r"'t' has balance_from: \{by: probe\}, but no level was probed"):
        probed_level(table.clear(), target)


@pytest.mark.parametrize(("max_share", "collapsed"), [(0.2, [1, 2, 3]), (0.3, [2, 3]), (0.95, [])])
def test_the_pool_says_from_which_share_a_level_has_collapsed(
    tmp_path: Path, max_share: float, collapsed: list[int]
) -> None:
    levels = curated(tmp_path, AUTO, max_share=max_share).storage.selection().start_levels.read()
    assert levels.filter("collapsed")["level"].to_list() == collapsed
