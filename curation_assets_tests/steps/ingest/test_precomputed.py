"""Pools that bring their own embeddings, from clip-retrieval's files to a balanced dataset."""

from __future__ import annotations

import io
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from curation_assets.defs.partitions import sync_partitions
from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.errors import CurationError, ShardError
from curation_assets.pools import load_pool_spec
from curation_assets.project import Home
from curation_assets.steps.ingest.embedded_rows import EmbeddedRows
from curation_assets.steps.soundness import require_one_encoder, unsound_embeddings
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import group_files
from curation_assets_tests.formats.embedded import write_clip_retrieval
from curation_assets_tests.steps.drawn_pool import RECIPE
from curation_assets_tests.steps.other_pools import EmbeddedPool

SOURCE = {"id_field": "url", "label_fields": ["concept"]}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmbeddedPool, list[np.ndarray]]:
    """Three partitions; some embeddings cannot be used, one id is missing, one is repeated."""
    folder = tmp_path_factory.mktemp("clip")
    key: list[str | None] = [f"key {i}" for i in range(100)]
    key[7], key[9] = None, "key 8"
    arrays = write_clip_retrieval(folder / "raw", [100, 120, 80], extra_key=key + ["-"] * 20)
    arrays[1][[5, 6, 7]] = [[np.nan] * 8, [0.0] * 8, [np.inf] * 8]
    np.save(folder / "raw" / "img_emb" / "img_emb_1.npy", arrays[1].astype(np.float64))
    pool = EmbeddedPool(folder, SOURCE, outputs=["parquet", "ids", "weights"])
    pool.run()
    return pool, arrays


def test_rows_without_content_have_no_hash(clip: tuple[EmbeddedPool, list[np.ndarray]]) -> None:
    pool, _ = clip
    raw = pool.storage.output("raw_pool", "img_emb__img_emb_0").table("parquet")
    assert raw.height == 100
    assert raw["content_sha256"].null_count() == raw["normalized_sha256"].null_count() == 100
    assert raw["size_bytes"].sum() == 0
    assert raw["label_concept"].null_count() == 0


def test_embeddings_are_taken_over_as_float16(clip: tuple[EmbeddedPool, list[np.ndarray]]) -> None:
    pool, arrays = clip
    for number in range(3):
        output = pool.storage.output("embeddings", f"img_emb__img_emb_{number}")
        rows = output.table("rows.parquet")
        assert output.array("npy").dtype == np.float16
        np.testing.assert_array_equal(output.array("npy"), arrays[number][rows["raw_row"].to_numpy()])
        assert rows["sample_id"][20].startswith(f"https://example.org/{number}/")
    output = pool.storage.output("embeddings", "img_emb__img_emb_1")
    assert output.table("rejected.parquet").rows() == [
        (5, "non_finite_embedding", "the embedding holds NaN, infinity or values beyond float16"),
        (6, "non_finite_embedding", "the embedding is zero, so has no direction"),
        (7, "non_finite_embedding", "the embedding holds NaN, infinity or values beyond float16"),
    ]
    summary = output.require_facts().summary
    assert (summary["n_rows"], summary["dimension"], summary["mean_norm"]) == (
        117,
        8,
        pytest.approx(1, abs=1e-3),
    )
    assert summary["encoder"] == {"kind": "precomputed", "model": "ViT-B/32"}


def test_every_row_has_a_fate_and_the_dataset_its_metadata(
    clip: tuple[EmbeddedPool, list[np.ndarray]],
) -> None:
    pool, _ = clip
    ledger = pool.finish()
    assert dict(ledger.group_by("fate").len().rows())["rejected"] == 3
    assert len(ledger) == 300
    selected = pool.storage.output("selection").table("selected.parquet")
    folder = Path(str(pool.storage.output("balanced_dataset").folder)) / "small"
    table = pl.concat([pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
    mine = selected.filter(pl.col("target") == "small")
    assert sorted(table["sample_id"]) == sorted(mine["sample_id"])
    assert len(table) == 15
    assert (table["sample_id"] == table["url"]).all()
    assert (table["label_concept"] == table["concept"]).all()
    assert table.schema["width"] == pl.Int64
    assert table.schema["pwatermark"] == pl.Float64
    rows = table["source_member"].str.strip_prefix("row ").cast(pl.Int64)
    assert (table["width"] == 200 + rows).all()
    assert table["pwatermark"].to_list() == [row / 7 for row in rows]
    by_id = {row["sample_id"]: row for row in mine.to_dicts()}
    for row in table.to_dicts():
        assert row["level_1"] == by_id[row["sample_id"]]["level_1"]
        assert row["source_shard"] == by_id[row["sample_id"]]["shard"]


def test_missing_and_repeated_ids_reach_no_tree(clip: tuple[EmbeddedPool, list[np.ndarray]]) -> None:
    pool = EmbeddedPool(clip[0].folder, {"id_field": "extra_key"})
    shard = pool.storage.shards()[0]
    pool.storage = PoolStorage(str(pool.folder / "other"), "drawn")
    pool.storage.save_shards([shard])
    pool.ingest()
    pool.embed()
    raw = pool.storage.raw_pool(shard.key).table("parquet")
    assert raw.filter(pl.col("reason").is_not_null()).select("member", "reason").rows() == [
        ("row 7", "missing_field"),
        ("row 9", "duplicate_id"),
    ]
    rows = pool.storage.output("embeddings", shard.key).table("rows.parquet")["raw_row"].to_list()
    assert rows == [row for row in range(100) if row not in (7, 9)]


def test_a_shard_of_another_dimension_fails_or_is_stopped_before_the_fit(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "raw", [20, 20, 20])
    pool = EmbeddedPool(tmp_path, SOURCE)
    pool.ingest()
    np.save(tmp_path / "raw" / "img_emb" / "img_emb_1.npy", np.ones((20, 5), np.float16))
    with pytest.raises(ShardError, match=r"img_emb_1.npy: embeddings have dimension 5, but those of"):
        pool.embed()
    forced = EmbeddedPool(tmp_path, {**SOURCE, "dimension": 5})
    shard = forced.storage.shards()[1]
    forced.storage.save_shards([shard])
    forced.embed()
    pool.storage.save_shards(group_files(pool.reader.list_files(), 1)[:1])
    pool.embed()
    pool.storage.save_shards(group_files(pool.reader.list_files(), 1)[:2])
    words = "1 shards of pool 'drawn' have embeddings of another dimension than the rest, e.g. 'img_emb__img_emb_1'"
    with pytest.raises(CurationError, match=words):
        require_one_encoder(pool.storage)
    assert (
        unsound_embeddings(pool.spec, pool.storage)["img_emb__img_emb_1"]
        == "embeddings of dimension 5, most shards of 8"
    )


def test_an_array_that_lost_rows_fails_its_shard(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "raw", [20])
    pool = EmbeddedPool(tmp_path, SOURCE)
    pool.ingest()
    write_clip_retrieval(tmp_path / "raw", [17])
    with pytest.raises(
        ShardError, match="3 samples of the raw pool are no longer in its files: run raw_pool"
    ):
        pool.embed()


def test_rows_written_block_by_block_are_the_file_numpy_writes(tmp_path: Path) -> None:
    blocks = [np.full((n, 3), n, np.float32) for n in (1, 4, 1000)]
    table = pl.DataFrame(
        {"raw_row": range(1005), "sample_id": [""] * 1005, "id_hash": [0] * 1005},
        schema={"raw_row": pl.UInt32, "sample_id": pl.String, "id_hash": pl.UInt64},
    )
    output = PoolStorage(str(tmp_path), "p").output("embeddings", "a")
    with output.writing(RECIPE) as writer:
        rows = EmbeddedRows(writer, dimension=3, metric="cosine")
        start = 0
        for block in blocks:
            rows.add(block, range(start, start + len(block)))
            start += len(block)
        rows.finish(table)
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate(blocks).astype(np.float16))
    assert output.path("npy").read_bytes() == buffer.getvalue()


def test_columns_of_ours_and_new_columns_do_not_clash(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_clip_retrieval(raw, [40, 40], distance=[0.25] * 40, metadata_distance=["x"] * 40)
    path = raw / "metadata" / "metadata_1.parquet"
    table = pq.read_table(path).drop_columns(["width"])
    pq.write_table(table.append_column("extra", [list(range(40))]), path)
    pool = EmbeddedPool(tmp_path, {**SOURCE, "files_per_shard": 2})
    pool.run()
    [shard] = pool.storage.shards()
    written = pool.storage.output("balanced_dataset", shard.key).table("small/parquet")
    assert written["metadata_metadata_distance"].unique().to_list() == [0.25]
    assert written["metadata_distance"].unique().to_list() == ["x"]
    first = written.filter(pl.col("source_file").str.ends_with("0.npy"))
    second = written.filter(pl.col("source_file").str.ends_with("1.npy"))
    assert first["width"].null_count() == second["extra"].null_count() == 0
    assert first["extra"].null_count() == len(first)
    assert second["width"].null_count() == len(second)


def passed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    return {check.check_name for check in result.get_asset_check_evaluations() if check.passed}


def test_the_graph_takes_clip_retrieval_from_files_to_a_release(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "raw", [150, 150])
    path = tmp_path / "pools" / "clip.yaml"
    path.parent.mkdir()
    settings = {
        "source": {"format": "embeddings", "path": "raw", "encoder": "ViT-B/32", "id_field": "image_path"},
        "levels": [{"n_clusters": 12, "resampling_steps": 2}, {"n_clusters": 4, "resampling_steps": 0}],
        "targets": [{"name": "small", "size": 60}],
        "outputs": ["parquet", "ids", "weights"],
    }
    path.write_text(yaml.safe_dump(settings))
    spec = load_pool_spec(path)
    home = Home(tmp_path, str(tmp_path / "curated"), tmp_path / "dagster")
    definitions = build_definitions([spec], home)
    storage = PoolStorage(home.storage_root, "clip")
    from curation_assets.formats import build_reader

    shards = group_files(build_reader(spec.source, tmp_path).list_files(), 1)
    storage.save_shards(shards)
    with dg.DagsterInstance.ephemeral() as instance:
        sync_partitions(instance, spec, shards)
        first, last = shards[0].key, shards[-1].key
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        job = definitions.resolve_job_def("clip_all")
        result = job.execute_in_process(instance=instance, tags=tags)
        assert result.success
        assert passed_checks(result) >= {"nothing_is_out_of_date", "ledger_adds_up", "embeddings_are_sound"}
        # As the command line runs its last wave: the report's check of everything comes after the release.
        last_wave = ["dataset_release", "curation_report"]
        for name in last_wave:
            storage.output(name).path("facts.json").unlink()
        keys = [dg.AssetKey(["clip", name]) for name in last_wave]
        result = job.execute_in_process(instance=instance, asset_selection=keys)
        assert "nothing_is_out_of_date" in passed_checks(result)
    folder = Path(str(storage.output("dataset_release").folder)) / "small"
    release = pl.read_parquet(folder / "data" / "*.parquet")
    assert sorted(release["sample_id"]) == sorted((folder / "ids.txt").read_text().splitlines())
    assert len(release) == 60
    assert (release["image_path"] == release["sample_id"]).all()
    weights = pl.read_parquet(folder / "weights.parquet")
    assert len(weights) == 300
    assert weights["weight"].sum() == pytest.approx(60)
    facts = storage.output("dataset_release").require_facts()
    assert facts.summary["tree_version"] in (folder / "README.md").read_text()


def test_edited_vectors_change_what_the_graph_sees_of_a_shard(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    pl.DataFrame({"id": ["a", "b", "c"]}).write_parquet(raw / "x.parquet")
    digests = []
    for scale in (1, 2):
        np.save(raw / "x.npy", scale * np.eye(3, dtype=np.float16))
        pool = EmbeddedPool(tmp_path, {"layout": "folder", "id_field": "id"})
        pool.ingest()
        digests.append(pool.storage.output("raw_pool", "x").require_facts().digest)
    assert digests[0] != digests[1], (
        "the rows of the table are the same, and no bytes of samples tell them apart"
    )
