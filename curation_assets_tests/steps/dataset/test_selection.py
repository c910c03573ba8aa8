"""Targets in tokens, and draws that see admitted rows only."""

from __future__ import annotations

import io
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from curation_assets.defs.checks import CHECKS
from curation_assets.errors import CurationError, PoolSpecError
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.dataset.accounts import missed_targets
from curation_assets.storage.fingerprint import text_digest
from curation_assets_tests.steps.built_pool import BuiltPool, Text
from curation_assets_tests.steps.drawn_pool import Pool

LENGTHS = {
    "long-tailed": lambda rng, n: np.ceil(rng.pareto(1.2, n) * 30 + 2).astype(int),
    "uniform": lambda rng, n: rng.integers(5, 80, n),
    "one giant": lambda rng, n: np.append(rng.integers(20, 40, n - 1), 40_000),
}
COPY = ("duplicate", "semantic", "a", "a0", 0.97)


def targets_are_exact(pool: BuiltPool) -> dg.AssetCheckResult:
    return CHECKS["targets_are_exact"].evaluate(PoolAccess(pool.spec, pool.storage))


def texts_of(lengths: np.ndarray, seed: int = 0) -> dict[str, list[Text]]:
    """Three shards; most texts fall into a few of 30 clusters."""
    rng = np.random.default_rng(seed)
    clusters = (30 * rng.random(len(lengths)) ** 3).astype(int)
    rows = [Text(f"t{i}", int(c), int(n)) for i, (c, n) in enumerate(zip(clusters, lengths, strict=True))]
    return {"a": rows[::3], "b": rows[1::3], "c": rows[2::3]}


PARENTS = [[i % 6 for i in range(30)], [0, 0, 1, 1, 1, 2]]


def test_equal_shares_from_the_top_give_the_bytes_of_the_paper_s_rule(tmp_path: Path) -> None:
    """Digests of the tables before targets had a start level and an evenness."""
    counts = LENGTHS["long-tailed"](np.random.default_rng(3), 900)
    rule = {"balance_from": "level_3", "evenness": 1.0}
    targets = [
        {"name": "random", "size": 150, **rule},
        {"name": "closest", "fraction": 0.3, "strategy": "closest", **rule},
        {"name": "tokens", "tokens": 7_001, **rule},
    ]
    pool = BuiltPool(tmp_path, texts_of(counts), n_clusters=30, parents=PARENTS, targets=targets, seed=5)
    pool.select()
    selection = pool.storage.selection()
    digests = [text_digest(stored.read().write_csv()) for stored in (selection.selected, selection.quotas)]
    assert digests == ["3ae5034a6c84ab9afe89b13917fb5eae", "d4923ba9396a5ed2e195317b68371e2e"]


@pytest.mark.parametrize("evenness", [0.0, 0.75, 1.0])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_every_admissible_sample_has_a_weight_and_levels_above_the_start_are_sums(
    tmp_path: Path, level: int, evenness: float
) -> None:
    rule = {"balance_from": f"level_{level}", "evenness": evenness}
    # Fewer samples than clusters, so that most quotas are 0.
    targets = [{"name": "few", "size": 7, **rule}, {"name": "tokens", "tokens": 300, **rule}]
    counts = LENGTHS["uniform"](np.random.default_rng(0), 400)
    pool = BuiltPool(tmp_path, texts_of(counts), n_clusters=30, parents=PARENTS, targets=targets)
    pool.select()
    selection = pool.storage.selection()
    quotas = selection.quotas.read()
    weights = selection.weights.read().join(
        quotas.filter(pl.col("level") == 1), on=["target", "cluster"], validate="1:1"
    )
    filled = weights.filter(pl.col("size") > 0)
    assert filled["weight"].is_between(0, 1, closed="right").all()
    totals = filled.group_by("target").agg((pl.col("weight") * pl.col("size")).sum()).sort("target")
    assert totals["weight"].to_list() == pytest.approx([7, 300])
    below = quotas.filter(pl.col("level") == level, pl.col("target") == "few").sort("cluster")["quota"]
    for t in range(level, 3):
        sums = np.bincount(np.array(PARENTS[t - 1]), below.to_numpy())
        above = quotas.filter(pl.col("level") == t + 1, pl.col("target") == "few").sort("cluster")["quota"]
        assert above.to_list() == sums.tolist()
        below = above
    if evenness == 0:
        assert filled.filter(pl.col("target") == "few")["weight"].to_list() == pytest.approx(
            [7 / 400] * filled.filter(pl.col("target") == "few").height
        )
    # Where a sample's cluster got nothing, it says so of the start level or one below it.
    assert int(selection.ran_out_at.read().max()) <= level


def test_another_seed_of_a_target_draws_again_from_the_same_tree(tmp_path: Path) -> None:
    counts = LENGTHS["uniform"](np.random.default_rng(0), 300)
    targets = [{"name": name, "size": 40, "seed": seed} for name, seed in (("a", None), ("b", 0), ("c", 1))]
    pool = BuiltPool(tmp_path, texts_of(counts), n_clusters=30, parents=PARENTS, targets=targets)
    selected = pool.select()
    ids = {name: set(selected.filter(pl.col("target") == name)["sample_id"]) for name in "abc"}
    assert ids["a"] == ids["b"] != ids["c"]
    assert pool.storage.selection().require_facts().summary["seed"] == {"a": 0, "b": 0, "c": 1}


@pytest.mark.parametrize("strategy", ["random", "closest"])
@pytest.mark.parametrize("lengths", sorted(LENGTHS))
@pytest.mark.parametrize("tokens", [997, 7_001])
def test_a_budget_of_tokens_is_met_to_within_one_sample(
    tmp_path: Path, lengths: str, tokens: int, strategy: str
) -> None:
    counts = LENGTHS[lengths](np.random.default_rng(3), 900)
    targets = [{"name": "small", "tokens": tokens, "strategy": strategy}]
    pool = BuiltPool(tmp_path, texts_of(counts), n_clusters=30, parents=PARENTS, targets=targets)
    selected = pool.select()
    total = int(selected["n_tokens"].sum())
    assert 0 <= tokens - total < counts.min()
    assert selected["n_tokens"].to_list() == [counts[int(i[1:])] for i in selected["sample_id"]]
    quotas = pool.storage.output("selection").table("quotas.parquet")
    assert quotas["unit"].unique().to_list() == ["tokens"]
    assert quotas.group_by("level").agg(pl.col("quota").sum())["quota"].to_list() == [tokens] * 3
    by_top = selected.group_by("level_3").agg(pl.col("n_tokens").sum()).sort("level_3")["n_tokens"]
    shares = quotas.filter(pl.col("level") == 3).sort("cluster")["quota"]
    # No sample of the giant's weight moves from one branch to another.
    assert (by_top - shares).abs().max() <= max(80, int(np.sort(counts)[-5]))
    summary = pool.storage.output("selection").require_facts().summary
    assert (summary["unit"], summary["requested"], summary["tokens"]) == (
        {"small": "tokens"},
        {"small": tokens},
        {"small": total},
    )
    assert missed_targets(pool.storage) == {}


def test_a_target_that_misses_its_tokens_is_found(tmp_path: Path) -> None:
    targets = [{"name": "small", "tokens": 500}, {"name": "rows", "size": 10}]
    counts = LENGTHS["uniform"](np.random.default_rng(0), 200)
    pool = BuiltPool(tmp_path, texts_of(counts), n_clusters=30, parents=PARENTS, targets=targets)
    selected = pool.select()
    assert missed_targets(pool.storage) == {}
    assert targets_are_exact(pool).passed
    output = pool.storage.output("selection")

    def stored(table: pl.DataFrame) -> dict[str, str]:
        buffer = io.BytesIO()
        table.write_parquet(buffer)
        output.path("selected.parquet").write_bytes(buffer.getvalue())
        return missed_targets(pool.storage)

    n_small = selected.filter(pl.col("target") == "small").height
    assert stored(selected[1:]) == {
        "small": f"{n_small - 1} rows, {n_small - 1} different ids, {n_small} expected"
    }
    assert stored(selected[:-1]) == {"rows": "9 rows, 9 different ids, 10 expected"}
    # As many rows, but one of them longer: the counts of the shards say so, whatever the selection holds.
    path = pool.storage.output("token_counts", selected["shard"][0]).path("parquet")
    longer = (pl.col("raw_row") == selected["raw_row"][0]).cast(pl.Int64) * 100
    buffer = io.BytesIO()
    pl.read_parquet(str(path)).with_columns(pl.col("n_tokens") + longer).write_parquet(buffer)
    path.write_bytes(buffer.getvalue())
    total = selected.filter(pl.col("target") == "small")["n_tokens"].sum() + 100
    assert not targets_are_exact(pool).passed
    assert stored(selected) == {"small": f"{total} tokens, 500 asked for: not within one sample"}


def test_targets_that_no_draw_can_meet_are_refused(tmp_path: Path) -> None:
    texts = {"a": [Text("x", n_tokens=30), Text("y", n_tokens=50), Text("z", n_tokens=0)]}
    short = BuiltPool(tmp_path, texts, n_clusters=1, targets=[{"name": "t", "tokens": 29}])
    with pytest.raises(PoolSpecError, match=r"targets.t.tokens is 29, but the shortest .* has 30"):
        short.select()
    long = BuiltPool(tmp_path, texts, n_clusters=1, targets=[{"name": "t", "tokens": 81}])
    with pytest.raises(
        PoolSpecError, match="tokens is 81, but the admissible samples of the pool have only 80"
    ):
        long.select()
    every = BuiltPool(tmp_path, texts, n_clusters=1, targets=[{"name": "t", "tokens": 80}])
    assert every.select()["sample_id"].to_list() == ["x", "y"], "a text without tokens is never selected"


def test_excluded_rows_are_not_drawn_and_do_not_stand_in_the_way_of_their_id(tmp_path: Path) -> None:
    texts = {
        "a": [Text("a0"), Text("twice", twin=COPY), Text("again")],
        "b": [Text("twice"), Text("again"), Text("b0", twin=COPY)],
        "c": [Text("twice"), Text("c0")],
    }
    cleaned = {"deduplication": {}, "targets": [{"name": "all", "fraction": 1.0}]}
    pool = BuiltPool(tmp_path, texts, n_clusters=1, **cleaned)
    selected = pool.select()
    # The first 'twice' is a copy, so the second counts and the third is its repetition.
    assert selected.select("shard", "sample_id").rows() == [
        ("a", "a0"),
        ("a", "again"),
        ("b", "twice"),
        ("c", "c0"),
    ]
    repeated = pool.storage.output("selection").table("duplicates.parquet")
    assert repeated.select("shard", "sample_id", "kept_shard").rows() == [
        ("b", "again", "a"),
        ("c", "twice", "b"),
    ]
    assert pool.storage.output("selection").require_facts().summary["n_admissible"] == 4
    # The same outputs in a pool that is not cleaned any more: what was admitted once does not count.
    plain = BuiltPool(tmp_path, texts, n_clusters=1, targets=cleaned["targets"])
    assert plain.select().height == 5


def test_counts_of_other_rows_stop_the_draw(tmp_path: Path) -> None:
    texts = {"a": [Text("x"), Text("y"), Text("z", twin=COPY)]}
    settings = {"deduplication": {}, "targets": [{"name": "t", "tokens": 1}]}
    pool = BuiltPool(tmp_path, texts, n_clusters=1, **settings)
    counts = pool.storage.output("token_counts", "a").path("parquet")
    pl.read_parquet(str(counts))[:2].write_parquet(str(counts))
    with pytest.raises(
        CurationError, match="3 rows are embedded, but tokens are counted for 2: run token_counts"
    ):
        pool.select()
    pool = BuiltPool(tmp_path, texts, n_clusters=1, **settings)
    np.save(str(pool.storage.output("admitted", "a").path("kept.npy")), np.array([0]))
    with pytest.raises(
        CurationError, match="3 rows are embedded, but 1 admitted and 1 excluded: run admitted"
    ):
        pool.select()


def test_selection_is_exact_and_leaves_repeated_ids_out(drawn: Pool) -> None:
    selected = drawn.storage.output("selection").table("selected.parquet")
    assert selected.group_by("target").len().sort("target").rows() == [("small", 15), ("typical", 9)]
    duplicates = drawn.storage.output("selection").table("duplicates.parquet")
    assert duplicates.select("shard", "sample_id", "kept_shard").rows() == [("c", "a3", "a")]
    assert selected.filter((pl.col("shard") == "c") & (pl.col("sample_id") == "a3")).is_empty()
    quotas = drawn.storage.output("selection").table("quotas.parquet")
    totals = quotas.group_by("target", "level").agg(pl.col("quota").sum()).sort("target", "level").rows()
    assert totals == [("small", 1, 15), ("small", 2, 15), ("typical", 1, 9), ("typical", 2, 9)]


def test_a_target_larger_than_the_pool_is_refused(drawn: Pool) -> None:
    greedy = Pool(drawn.folder, targets=[{"name": "all", "size": 50}])
    with pytest.raises(CurationError, match=r"targets.all.size is 50, but the pool has only 49 admissible"):
        greedy.select()
