"""The steps on a small pool of drawn images, with a real if tiny encoder."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from curation_assets.algorithms import fit_hierarchy
from curation_assets.errors import CurationError, ShardError
from curation_assets.graph.levels import level_specs
from curation_assets.steps.report import gather_report
from curation_assets.storage.fit_rows import FitRows, FittedShard
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Admitted
from curation_assets_tests.steps.drawn_pool import RECIPE, MeanColours, Pool, png, write_tar
from curation_assets_tests.steps.making import make


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Three shards; some samples cannot be embedded, one id occurs in two shards."""
    folder = tmp_path_factory.mktemp("pool")
    (folder / "raw").mkdir()
    write_tar(folder / "raw" / "a.tar", {f"a{i}": png(None, i) for i in range(20)})
    odd = {
        "black": png((0, 0, 0)),
        "white": png((255, 255, 255)),
        "red": png((255, 0, 0)),
        "cut": png(None)[:70],
    }
    write_tar(folder / "raw" / "b.tar", {**{f"b{i}": png(None, 100 + i) for i in range(20)}, **odd})
    write_tar(
        folder / "raw" / "c.tar", {"a3": png(None, 500), **{f"c{i}": png(None, 200 + i) for i in range(9)}}
    )
    made = Pool(folder)
    made.ingest()
    made.embed()
    made.cluster()
    made.select()
    made.finish()
    return made


def test_ingest_lists_every_sample_with_its_label(pool: Pool) -> None:
    table = pool.storage.output("raw_pool", "b").table("parquet")
    assert table.height == 24
    assert table["label_kind"].to_list()[:3] == ["b", "b", "b"]
    assert table["id_hash"].n_unique() == 24
    raw = (pool.folder / "raw" / "b.tar").read_bytes()
    row = table.row(0, named=True)
    assert raw[row["offset"] : row["offset"] + row["size_bytes"]] == png(None, 100)


def test_what_cannot_be_embedded_is_rejected_with_its_reason(pool: Pool) -> None:
    output = pool.storage.output("embeddings", "b")
    rejected = output.table("rejected.parquet")
    assert sorted(rejected["reason"].to_list()) == ["corrupt_image", *["non_finite_embedding"] * 3]
    assert output.array("npy").shape == (20, 12)
    assert output.array("npy").dtype == np.float16
    ids = output.table("rows.parquet")["sample_id"].to_list()
    assert ids == [f"b{i}" for i in range(20)]
    expected = MeanColours().encode([Image.open(io.BytesIO(png(None, 105)))])[0]
    np.testing.assert_allclose(output.array("npy")[5], expected, atol=1e-3)


def test_the_stages_are_the_library_bit_for_bit(pool: Pool) -> None:
    rows = pool.storage.embeddings()
    tree = fit_hierarchy(rows, level_specs(pool.spec, rows.n_rows), metric="cosine", seed=0)
    for level, fitted in enumerate(tree.levels, start=1):
        stored = pool.storage.output(f"level_{level}_clusters").array("centroids.npy")
        np.testing.assert_array_equal(stored, fitted.centroids)
        assigned = [
            pool.storage.output(f"level_{level}_assign", s.key).table("parquet")
            for s in pool.storage.shards()
        ]
        np.testing.assert_array_equal(
            pl.concat(assigned)["cluster"].to_numpy(), tree.row_clusters()[:, level - 1]
        )


def test_selection_is_exact_and_leaves_repeated_ids_out(pool: Pool) -> None:
    selected = pool.storage.output("selection").table("selected.parquet")
    assert selected.group_by("target").len().sort("target").rows() == [("small", 15), ("typical", 9)]
    duplicates = pool.storage.output("selection").table("duplicates.parquet")
    assert duplicates.select("shard", "sample_id", "kept_shard").rows() == [("c", "a3", "a")]
    assert selected.filter((pl.col("shard") == "c") & (pl.col("sample_id") == "a3")).is_empty()
    quotas = pool.storage.output("selection").table("quotas.parquet")
    totals = quotas.group_by("target", "level").agg(pl.col("quota").sum()).sort("target", "level").rows()
    assert totals == [("small", 1, 15), ("small", 2, 15), ("typical", 1, 9), ("typical", 2, 9)]


def test_the_ledger_gives_each_sample_one_fate(pool: Pool) -> None:
    ledger = pool.finish()
    assert ledger.height == 20 + 24 + 10
    fates = dict(ledger.group_by("fate").len().rows())
    assert sum(fates.values()) == 54
    assert fates["rejected"] == 5
    selected = pool.storage.output("selection").table("selected.parquet")
    assert fates["selected"] == selected.select("shard", "row").unique().height
    assert ledger.filter(pl.col("reason") == "duplicate_id")["detail"].to_list() == [
        "also in shard a, which is kept"
    ]


def test_a_selection_of_a_rejected_sample_is_caught(pool: Pool, tmp_path: Path) -> None:
    broken = PoolStorage(str(tmp_path), "drawn")
    broken.save_shards(pool.storage.shards())
    for asset, shard in (
        ("raw_pool", "b"),
        ("embeddings", "b"),
        ("level_1_assign", "b"),
        ("selection", None),
    ):
        source = pool.storage.output(asset, shard)
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
        make(pool.spec, broken, "ledger", "b")


def test_a_shard_that_gives_nothing_to_a_target_has_no_file_for_it(pool: Pool) -> None:
    selected = pool.storage.output("selection").table("selected.parquet")
    for target in ("small", "typical"):
        for shard in pool.storage.shards():
            mine = selected.filter((pl.col("target") == target) & (pl.col("shard") == shard.key))
            path = pool.storage.output("balanced_dataset", shard.key).path(f"{target}/parquet")
            assert path.exists() == (mine.height > 0)
            if mine.height:
                assert pl.read_parquet(str(path)).height == mine.height


def test_a_file_that_changed_since_it_was_listed_fails_its_shard(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_tar(tmp_path / "raw" / "a.tar", {f"a{i}": png(None, i) for i in range(6)})
    changed = Pool(tmp_path)
    changed.ingest()
    write_tar(tmp_path / "raw" / "a.tar", {f"a{i}": png(None, i) for i in range(4)})
    with pytest.raises(
        ShardError, match="2 samples of the raw pool are no longer in its files: run raw_pool again"
    ):
        changed.embed()


def test_a_target_larger_than_the_pool_is_refused(pool: Pool) -> None:
    greedy = Pool(pool.folder, targets=[{"name": "all", "size": 50}])
    with pytest.raises(CurationError, match=r"targets.all.size is 50, but the pool has only 49 admissible"):
        greedy.select()


def test_the_report_counts_what_the_ledger_counts(pool: Pool) -> None:
    data = gather_report(pool.spec, pool.storage, pool.reader)
    assert (data.n_samples, data.n_rejected, data.n_shards) == (49, 5, 3)
    assert [level.sizes.sum() for level in data.levels] == [49, 49]
    small = data.targets[0]
    assert [subset.name for subset in small.subsets] == ["pool", "random", "flat k-means", "balanced"]
    assert sum(counts[2] for counts in small.label_counts.values()) == 15
    assert len(small.balanced_sample) == len(small.random_sample) == 15
    assert sum(card.size for card in data.clusters) == 49
    assert data.label_name == "kind"
    assert data.embedding_speed.startswith("54 samples in ")
    assert "; bottleneck: " in data.embedding_speed


def test_a_cleaned_pool_is_fitted_drawn_and_reported_without_what_was_excluded(
    pool: Pool, tmp_path: Path
) -> None:
    shutil.copytree(pool.folder, tmp_path / "pool")
    cleaned = Pool(tmp_path / "pool", deduplication={})
    fitted, evidence = {}, []
    for shard in cleaned.storage.shards():
        embedded = cleaned.storage.output("embeddings", shard.key)
        rows = embedded.table("rows.parquet").with_row_index("row")
        # All of shard c, and every fourth row of a, as copies of b0.
        gone = rows if shard.key == "c" else rows.gather_every(4) if shard.key == "a" else rows[:0]
        copies = {
            "fate": "duplicate",
            "kind": "semantic",
            "twin_set": "b",
            "twin_id": "b0",
            "similarity": 0.99,
        }
        excluded = gone.with_columns(pl.lit(value).alias(name) for name, value in copies.items())
        excluded = Admitted.excluded.cast(excluded)
        evidence.append(excluded.drop("fate").select(pl.lit(shard.key).alias("shard"), pl.all()))
        output = cleaned.storage.output("admitted", shard.key)
        with output.writing(RECIPE) as writer:
            kept = np.setdiff1d(np.arange(len(rows)), gone["row"].to_numpy())
            writer.array("kept.npy", kept)
            writer.table("excluded.parquet", excluded)
            writer.summary.update(n_rows=len(kept), n_excluded=len(gone))
        digest = output.require_facts().digest
        fitted[shard.key] = FittedShard(digest, len(kept), embedded.require_facts().digest)
    cleaned.storage.save_fit_rows(FitRows(fitted, "encoder", "first fit"))
    with cleaned.storage.output("duplicates").writing(RECIPE) as writer:
        writer.table("evidence.parquet", pl.concat(evidence))
    cleaned.cluster()
    cleaned.select()
    ledger = cleaned.finish()
    assert dict(ledger["fate"].value_counts().rows())["duplicate"] == 15
    data = gather_report(cleaned.spec, cleaned.storage, cleaned.reader)
    assert data.n_samples == 35
    assert [level.sizes.sum() for level in data.levels] == [35, 35]
    small = data.targets[0]
    assert [subset.name for subset in small.subsets] == ["pool", "random", "flat k-means", "balanced"]
    assert [subset.n_samples for subset in small.subsets] == [35, 15, 15, 15]
    assert {label: counts[0] for label, counts in small.label_counts.items()} == {"a": 15, "b": 20, "c": 0}
    assert small.label_counts["c"][1] == 0, "a random subset has no excluded rows either"
    assert sum(card.size for card in data.clusters) == 35
