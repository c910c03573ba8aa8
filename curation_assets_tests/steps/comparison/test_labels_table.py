"""A table of labels: how it is read, joined by id, and noticed when it changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation_assets.errors import PoolSpecError, ShardError
from curation_assets.pools import LabelsTable
from curation_assets.steps.comparison.labels_table import join_labels, read_labels_table, take_labels_sight
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.dataset.shard_tables import shard_tables
from curation_assets.storage.labels import load_labels_digest
from curation_assets_tests.steps.built_pool import BuiltPool, Text

PAIRS = pl.DataFrame({"url": ["007", "b", "c"], "kind": ["cat", "dog", "cat"], "note": [1, 2, 3]})


def settings(path: str) -> LabelsTable:
    return LabelsTable(path=path, id_field="url", label_field="kind")


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.parquet", "labels.jsonl"])
def test_every_format_gives_the_same_labels(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        PAIRS.write_parquet(tmp_path / name)
    elif name.endswith("jsonl"):
        PAIRS.write_ndjson(tmp_path / name)
    else:
        PAIRS.write_csv(tmp_path / name, separator="\t" if name.endswith("tsv") else ",")
    table = read_labels_table(settings(name), tmp_path)
    assert table.rows() == [("007", "cat"), ("b", "dog"), ("c", "cat")]
    assert read_labels_table(settings(str(tmp_path / name)), Path("elsewhere")).equals(table)


def test_numbers_become_text_and_rows_without_id_or_label_are_left_out(tmp_path: Path) -> None:
    rows = [{"url": 1, "kind": 5}, {"url": 2, "kind": None}, {"url": None, "kind": 5}, {"url": 1, "kind": 5}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_labels_table(settings("a.jsonl"), tmp_path).rows() == [("1", "5")]
    (tmp_path / "a.csv").write_text("url,kind\n1,\n,cat\n2,dog\n")
    assert read_labels_table(settings("a.csv"), tmp_path).rows() == [("2", "dog")]


def test_a_table_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,kind\n1,cat\n")
    with pytest.raises(
        PoolSpecError, match=r"labels\.id_field is 'url', but a\.csv has the columns id, kind"
    ):
        read_labels_table(settings("a.csv"), tmp_path)
    (tmp_path / "a.csv").write_text("url,kind\n1,cat\n2,dog\n1,dog\n")
    with pytest.raises(PoolSpecError, match="gives the id '1' two labels, 'cat' and 'dog'"):
        read_labels_table(settings("a.csv"), tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(ShardError, match=r"a\.parquet cannot be read"):
        read_labels_table(settings("a.parquet"), tmp_path)


def test_labels_are_joined_by_id_and_what_does_not_match_is_counted_and_named(tmp_path: Path) -> None:
    texts = {"a": [Text("t1"), Text("t2"), Text("bad", reason="broken")], "b": [Text("t3"), Text("t1")]}
    pool = BuiltPool(tmp_path, texts, n_clusters=1, targets=[{"name": "all", "size": 3}])
    table = pl.DataFrame({"sample_id": ["t3", "gone", "t1", "bad"], "label": ["sea", "air", "land", "air"]})
    joined = join_labels(table, shard_tables(pool.spec, pool.storage))
    assert joined.names == ["air", "land", "sea"]
    np.testing.assert_array_equal(joined.codes, [1, -1, 2, 1])
    assert (joined.n_samples_without_row, joined.samples_without_row) == (1, ["t2"])
    assert (joined.n_rows_without_sample, joined.rows_without_sample) == (2, ["gone", "bad"])
    assert joined.lines(settings("labels.csv")) == [
        "1 of 4 samples have no row in labels.csv, e.g. t2",
        "2 rows of labels.csv belong to no embedded sample, e.g. gone, bad",
    ]


def test_a_changed_table_is_noticed_and_a_missing_one_named(tmp_path: Path) -> None:
    targets = [{"name": "all", "size": 1}]
    labels = {"labels": {"path": "labels.csv"}}
    built = BuiltPool(tmp_path / "out", {"a": [Text("t")]}, n_clusters=1, targets=targets, probe=labels)
    pool = PoolAccess(built.spec, built.storage, str(tmp_path))
    with pytest.raises(
        PoolSpecError, match=r"probe\.labels\.path is 'labels\.csv', but there is no such file"
    ):
        take_labels_sight(pool)
    assert load_labels_digest(built.storage.folder) is None
    (tmp_path / "labels.csv").write_text("id,label\nt,x\n")
    take_labels_sight(pool)
    before = load_labels_digest(built.storage.folder)
    take_labels_sight(pool)
    assert load_labels_digest(built.storage.folder) == before
    (tmp_path / "labels.csv").write_text("id,label\nt,other\n")
    take_labels_sight(pool)
    assert load_labels_digest(built.storage.folder) not in (None, before)
