"""One fate for every row, and totals that are compared with what decided them."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from curation_assets.errors import CurationError
from curation_assets.steps.dataset.accounts import audit_ledger
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Ledger
from curation_assets_tests.steps.built_pool import BuiltPool, Text
from curation_assets_tests.steps.drawn_pool import RECIPE, Pool
from curation_assets_tests.steps.making import make

# Top cluster 0 holds level-1 clusters 0 and 1, top cluster 1 holds 2.
PARENTS = [[0, 0, 1]]
TEXTS = {
    "a": [
        Text("a0", 0),
        Text("broken", reason="invalid_utf8"),
        Text("a1", 0),
        Text("copy", 0, twin=("duplicate", "exact", "b", "b0", 1.0)),
    ],
    "b": [
        Text("b0", 1),
        Text("leak", 2, twin=("contaminated", "semantic", "exam", "q7", 0.93)),
        Text("a0", 1),
        Text("b1", 2),
    ],
}
CLEANED = {
    "deduplication": {},
    "decontamination": {"evaluation_sets": [{"name": "exam", "source": {"format": "jsonl", "path": "exam"}}]},
}


def built(folder: Path, **settings: object) -> BuiltPool:
    targets = {"targets": [{"name": "t", "size": 3}], **CLEANED, **settings}
    pool = BuiltPool(folder, TEXTS, n_clusters=3, parents=PARENTS, **targets)
    pool.select()
    return pool


def test_every_row_has_one_fate_and_what_explains_it(tmp_path: Path) -> None:
    ledger = built(tmp_path).write_ledgers()
    assert ledger.drop("shard").schema == Ledger.fates.schema
    assert ledger.filter(pl.col("shard") == "a")["sample_id"].to_list() == ["a0", "broken", "a1", "copy"]
    by_fate = {fate: part for (fate,), part in ledger.partition_by("fate", as_dict=True).items()}
    assert {fate: part.height for fate, part in by_fate.items()} == {
        "selected": 3, "not_selected": 1, "duplicate": 1, "contaminated": 1, "rejected": 2,
    }  # fmt: skip
    assert by_fate["rejected"].select("sample_id", "reason", "detail").rows() == [
        ("broken", "invalid_utf8", "as given"),
        ("a0", "duplicate_id", "also in shard a, which is kept"),
    ]
    twin = ("sample_id", "twin_set", "twin_id", "detail")
    assert by_fate["duplicate"].select(twin).row(0) == ("copy", "b", "b0", "same bytes as b0 in shard b")
    assert by_fate["contaminated"].select(*twin, pl.col("similarity").round(2)).row(0) == (
        "leak", "exam", "q7", "nearly the same as q7 in evaluation set exam", pytest.approx(0.93)
    )  # fmt: skip
    assert by_fate["selected"]["targets"].to_list() == [["t"]] * 3
    assert by_fate["not_selected"].select("ran_out_at", "reason").row(0) == (0, None)


def test_where_the_quota_ran_out_is_the_highest_level_without_a_share(tmp_path: Path) -> None:
    """Fourteen rows in top cluster 0, one in top cluster 1; level 1 has 0 and 1 below the former, 2 the latter."""
    texts = {
        "a": [*(Text(f"x{i}", 0) for i in range(9)), *(Text(f"y{i}", 1) for i in range(5)), Text("z", 2)]
    }

    def levels(*sizes: int) -> dict[str, set[int]]:
        targets = [{"name": f"t{size}", "size": size} for size in sizes]
        pool = BuiltPool(tmp_path, texts, n_clusters=3, parents=PARENTS, targets=targets)
        pool.select()
        table = pool.write_ledgers().filter(pl.col("fate") == "not_selected")
        found: dict[str, set[int]] = {}
        for sample_id, level in table.select("sample_id", "ran_out_at").iter_rows():
            found.setdefault(sample_id[0], set()).add(level)
        return found

    one = levels(1)
    # One sample: one top cluster gives it. The other ran out at level 2, and so did what lies below it.
    if "z" in one:
        assert one["z"] == {2}
        assert {frozenset(one["x"]), frozenset(one["y"])} == {frozenset({0}), frozenset({1})}
    else:
        assert one == {"x": {2}, "y": {2}}
    # Two samples: each top cluster gives one, so one of x and y got nothing at level 1.
    two = levels(2)
    assert {frozenset(two["x"]), frozenset(two["y"])} == {frozenset({0}), frozenset({1})}
    # Over both targets and one that all get a share of: the one that got furthest.
    assert levels(1, 2, 5) == {"x": {0}, "y": {0}}


def test_a_token_target_tells_where_its_tokens_ran_out(tmp_path: Path) -> None:
    texts = {"a": [Text("x0", 0, 50), Text("x1", 0, 50), Text("y", 1, 500), Text("z", 2, 30)]}
    targets = [{"name": "t", "tokens": 80}]
    pool = BuiltPool(tmp_path, texts, n_clusters=3, parents=PARENTS, targets=targets)
    assert sorted(pool.select()["n_tokens"]) == [30, 50]
    ledger = pool.write_ledgers().filter(pl.col("fate") == "not_selected").sort("sample_id")
    # y alone exceeds the budget, so it is no part of the plan and its cluster has no share.
    assert ledger.select(pl.col("sample_id").str.slice(0, 1), "ran_out_at").rows() == [("x", 0), ("y", 1)]


def test_two_fates_or_none_are_caught(tmp_path: Path) -> None:
    pool = built(tmp_path)
    admitted = pool.storage.output("admitted", "a")
    excluded = admitted.table("excluded.parquet")
    twice = excluded.with_columns(raw_row=pl.lit(0, pl.UInt32))
    _store(admitted.path("excluded.parquet"), twice)
    with pytest.raises(
        CurationError, match=r"shard 'a': the ledger does not add up \(4 rows of the raw pool, \d"
    ):
        pool.write_ledgers()
    _store(admitted.path("excluded.parquet"), excluded.with_columns(fate=pl.lit("lost")))
    with pytest.raises(CurationError, match=r"rows were excluded as \['lost'\]: run admitted"):
        pool.write_ledgers()


def test_the_audit_counts_each_fate_where_it_was_decided(tmp_path: Path) -> None:
    pool = built(tmp_path)
    ledger = pool.write_ledgers()
    accounts = audit_ledger(pool.spec, pool.storage)
    assert accounts.wrong == {}
    assert accounts.pending == []
    assert accounts.fates == Counter(ledger["fate"].to_list())
    output = pool.storage.output("ledger", "a")
    stored = output.table("parquet")
    _store(output.path("parquet"), stored.filter(pl.col("fate") != "duplicate"))
    wrong = audit_ledger(pool.spec, pool.storage).wrong
    assert list(wrong) == ["a"]
    assert "its sources 1 duplicate, " in wrong["a"]
    _store(output.path("parquet"), stored.with_columns(reason=pl.lit(None, pl.String)))
    assert audit_ledger(pool.spec, pool.storage).wrong == {"a": "1 samples without what their fate calls for"}
    output.path("facts.json").unlink()
    assert audit_ledger(pool.spec, pool.storage).pending == ["a"]


def test_a_ledger_is_made_again_when_quotas_run_out_elsewhere(tmp_path: Path) -> None:
    texts = {"a": [Text("x", 0), Text("y", 1)], "b": [*(Text(f"b{i}", 1) for i in range(5))]}
    parts = []
    for size in (1, 2):
        pool = BuiltPool(tmp_path / str(size), texts, n_clusters=2, targets=[{"name": "t", "size": size}])
        selected = pool.select()
        parts.append((pool.storage.output("selection").require_facts().parts, selected))
    (one, first), (two, second) = parts
    same = [s for s in "ab" if first.filter(pl.col("shard") == s).equals(second.filter(pl.col("shard") == s))]
    assert same, "one shard gives the same rows to both"
    for shard in same:
        assert one[shard] == two[shard], "its dataset stands"
        assert one[f"ledger/{shard}"] != two[f"ledger/{shard}"], "its ledger does not"


def _store(path: object, table: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    path.write_bytes(buffer.getvalue())  # type: ignore[attr-defined]


def test_the_ledger_gives_each_sample_one_fate(drawn: Pool) -> None:
    ledger = drawn.finish()
    assert ledger.height == 20 + 24 + 10
    fates = dict(ledger.group_by("fate").len().rows())
    assert sum(fates.values()) == 54
    assert fates["rejected"] == 5
    selected = drawn.storage.output("selection").table("selected.parquet")
    assert fates["selected"] == selected.select("shard", "row").unique().height
    assert ledger.filter(pl.col("reason") == "duplicate_id")["detail"].to_list() == [
        "also in shard a, which is kept"
    ]


def test_a_selection_of_a_rejected_sample_is_caught(drawn: Pool, tmp_path: Path) -> None:
    broken = PoolStorage(str(tmp_path), "drawn")
    broken.save_shards(drawn.storage.shards())
    for asset, shard in (
        ("raw_pool", "b"),
        ("embeddings", "b"),
        ("level_1_assign", "b"),
        ("selection", None),
    ):
        source = drawn.storage.output(asset, shard)
        files = {name: source.path(name).read_bytes() for name in source.require_facts().files}
        if asset == "selection":
            selected = source.table("selected.parquet")
            rejected_row = pl.lit(23, selected["raw_row"].dtype).alias("raw_row")
            forged = selected.filter(pl.col("shard") == "b").head(1).with_columns(rejected_row)
            buffer = io.BytesIO()
            pl.concat([selected, forged]).write_parquet(buffer)
            files["selected.parquet"] = buffer.getvalue()
        with broken.output(asset, shard).writing(RECIPE) as writer:
            for name, content in files.items():
                writer.file(name).write_bytes(content)
    with pytest.raises(CurationError, match="shard 'b': the ledger does not add up"):
        make(drawn.spec, broken, "ledger", "b")
