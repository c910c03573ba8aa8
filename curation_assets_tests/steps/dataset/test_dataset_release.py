"""Releases of image, text and embedding pools, opened with the libraries people use."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curation_assets.errors import CurationError
from curation_assets.formats import accounts
from curation_assets.storage.tables import Admitted
from curation_assets_tests.formats.embedded import write_clip_retrieval
from curation_assets_tests.steps.drawn_pool import RECIPE, Pool, png, write_tar
from curation_assets_tests.steps.other_pools import EmbeddedPool, TextPool

ALL = ["webdataset", "parquet", "ids", "weights"]
WORDS = [
    "süß",
    "猫",
    "rain",
    "stone",
    "river",
    "and",
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dogs",
    "while",
    "zebra",
    "kites",
]


def curated(pool: Pool) -> Pool:
    pool.run()
    pool.release()
    return pool


def image_pool(folder: Path) -> Pool:
    """Shard c repeats an id of shard a."""
    (folder / "raw").mkdir()
    for number, name in enumerate("ab"):
        samples = {f"{name}{i}": png(None, 100 * number + i) for i in range(20)}
        write_tar(folder / "raw" / f"{name}.tar", samples)
    write_tar(
        folder / "raw" / "c.tar", {"a3": png(None, 500), **{f"c{i}": png(None, 200 + i) for i in range(9)}}
    )
    return curated(Pool(folder, outputs=ALL))


def text_pool(folder: Path) -> TextPool:
    (folder / "raw").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        lines = [
            {
                "id": f"https://example.org/{name}.html#{i}" if i % 2 else f"{name}-{i}",
                "text": " ".join(rng.choice(WORDS, 12)),
                "language": None if i % 3 else "de",
            }
            for i in range(40)
        ]
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
        (folder / "raw" / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return curated(TextPool(folder, outputs=ALL))  # type: ignore[return-value]


def embedded_pool(folder: Path) -> EmbeddedPool:
    """The metadata of the second partition has other columns: one is missing, one is new, one null throughout."""
    write_clip_retrieval(folder / "raw", [90, 60], note=["x"] * 90)
    path = folder / "raw" / "metadata" / "metadata_1.parquet"
    table = pq.read_table(path).drop_columns(["width", "note"])
    table = table.append_column("note", pa.nulls(60)).append_column(
        "score", [np.arange(60, dtype=np.float32)]
    )
    pq.write_table(table, path)
    return curated(EmbeddedPool(folder, {"id_field": "image_path"}, outputs=ALL[1:]))  # type: ignore[return-value]


MAKERS = {"image": image_pool, "text": text_pool, "embedding": embedded_pool}


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pool]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MAKERS.items()}


def release_of(pool: Pool, target: str = "small") -> Path:
    return Path(str(pool.storage.output("dataset_release").folder)) / target


def selected_ids(pool: Pool, target: str = "small") -> list[str]:
    table = pool.storage.output("selection").table("selected.parquet")
    return table.filter(pl.col("target") == target)["sample_id"].to_list()


def load(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> Any:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(cache / "home"))
    import datasets

    return datasets.load_dataset(str(folder), *names, split="train", cache_dir=str(cache))


@pytest.mark.parametrize("modality", MAKERS)
@pytest.mark.parametrize("target", ["small", "typical"])
def test_no_id_is_lost_or_twice(
    pools: dict[str, Pool], modality: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pools[modality]
    folder = release_of(pool, target)
    expected = sorted(selected_ids(pool, target))
    assert len(set(expected)) == len(expected) == {"small": 15, "typical": 9}[target]
    rows = load(folder, tmp_path, monkeypatch)
    assert sorted(rows["sample_id"]) == expected
    assert sorted(pl.read_parquet(folder / "data" / "*.parquet")["sample_id"]) == expected
    assert sorted(pq.read_table(folder / "data")["sample_id"].to_pylist()) == expected
    assert sorted((folder / "ids.txt").read_text(encoding="utf-8").splitlines()) == expected


def test_images_decode_and_keep_their_json(
    pools: dict[str, Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in load(release_of(pools["image"]), tmp_path, monkeypatch):
        assert row["image"].size == (8, 8)
        assert json.loads(row["metadata"]) == {"kind": row["sample_id"][0]}
        assert row["label_kind"] == row["sample_id"][0]


def test_texts_come_out_as_they_went_in(
    pools: dict[str, Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import webdataset

    pool = pools["text"]
    raw = {
        line["id"]: line
        for path in (pool.folder / "raw").iterdir()
        for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    }
    rows = load(release_of(pool), tmp_path, monkeypatch)
    assert rows.column_names == [
        "sample_id", "text", "source_file", "source_member", "metadata",
        "source_shard", "level_1", "level_2", "distance",
    ]  # fmt: skip
    for row in rows:
        source = raw[row["sample_id"]]
        assert row["text"] == source["text"]
        assert json.loads(row["metadata"]) == {"id": source["id"], "language": source["language"]}
    folder = Path(str(pool.storage.output("balanced_dataset").folder)) / "small"
    tars = sorted(str(path) for path in folder.glob("*.tar"))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode())
    assert len({sample["__key__"] for sample in samples}) == len(samples) == 15
    for sample in samples:
        record = sample["curation.json"]
        assert sample["txt"] == raw[record["sample_id"]]["text"]
        assert sample["json"]["language"] == raw[record["sample_id"]]["language"]
    with tarfile.open(tars[0]) as tar:
        assert not any("/" in name or ":" in name for name in tar.getnames())


def test_metadata_of_embeddings_stays_typed_in_one_schema(
    pools: dict[str, Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pools["embedding"]
    folder = release_of(pool)
    schemas = {str(pq.read_schema(path)) for path in (folder / "data").iterdir()}
    assert len(schemas) == 1
    rows = load(folder, tmp_path, monkeypatch)
    types = {name: feature.dtype for name, feature in rows.features.items()}
    assert (types["width"], types["note"], types["score"]) == ("int64", "string", "float32")
    for row in rows:
        second = row["source_file"].endswith("1.npy")
        number = int(row["source_member"].removeprefix("row "))
        assert row["image_path"] == row["sample_id"]
        assert row["width"] == (None if second else 200 + number)
        assert row["note"] == (None if second else "x")
        assert row["score"] == (number if second else None)


@pytest.mark.parametrize("modality", MAKERS)
def test_weights_sum_to_the_target_over_all_admissible_samples(
    pools: dict[str, Pool], modality: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pools[modality]
    n_admissible = pool.storage.output("selection").require_facts().summary["n_admissible"]
    assert n_admissible == {"image": 49, "text": 80, "embedding": 150}[modality]
    for target, size in (("small", 15), ("typical", 9)):
        weights = pl.read_parquet(release_of(pool, target) / "weights.parquet")
        assert len(weights) == weights["sample_id"].n_unique() == n_admissible
        assert weights["weight"].sum() == pytest.approx(size)
        assert weights["weight"].is_between(0, 1, closed="right").all(), "none is 0, however small the target"
        assert set(selected_ids(pool, target)) <= set(weights["sample_id"])
    if modality == "image":
        assert weights.filter(pl.col("sample_id") == "a3")["source_shard"].to_list() == ["a"]
    rows = load(release_of(pool), tmp_path, monkeypatch, "weights")
    assert rows.num_rows == n_admissible


def test_a_weighted_sampler_draws_clusters_as_the_target_does(pools: dict[str, Pool]) -> None:
    from torch import Generator
    from torch.utils.data import WeightedRandomSampler

    pool = pools["embedding"]
    weights = pl.read_parquet(release_of(pool) / "weights.parquet")["weight"].to_list()
    drawn = list(WeightedRandomSampler(weights, 20_000, generator=Generator().manual_seed(0)))
    clusters = np.concatenate(
        [
            pool.storage.output("level_1_assign", shard.key).table("parquet")["cluster"]
            for shard in pool.storage.shards()
        ]
    )
    selection, small = pool.storage.selection(), pl.col("target") == "small"
    quotas = selection.quotas.read().filter(small, pl.col("level") == 1)
    share = selection.weights.read().filter(small)["weight"] * quotas["size"]
    assert (quotas["quota"] - share).abs().max() < 1, "a quota is a share, rounded"  # type: ignore[operator]
    shares = np.bincount(clusters[drawn], minlength=len(quotas)) / 20_000
    np.testing.assert_allclose(shares, share / 15, atol=0.015)


def test_the_manifest_and_the_card_say_what_is_there(pools: dict[str, Pool]) -> None:
    for pool in pools.values():
        folder = release_of(pool)
        manifest = json.loads((folder / "manifest.json").read_text())
        assert (manifest["size"], manifest["requested"], manifest["target"]) == (15, {"size": 15}, "small")
        there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert {file["path"] for file in manifest["files"]} == there - {"manifest.json"}
        for file in manifest["files"]:
            content = (folder / file["path"]).read_bytes()
            assert file["sha256"] == hashlib.sha256(content).hexdigest()
        rows = {file["path"]: file["rows"] for file in manifest["files"]}
        assert sum(count for path, count in rows.items() if path.startswith("data/")) == rows["ids.txt"] == 15
        summary = pool.storage.selection().require_facts().summary
        level = summary["balance_from"]["small"]
        assert (manifest["balance_from"], manifest["evenness"], manifest["seed"]) == (
            f"level_{level}",
            0.75,
            0,
        )
        card = (folder / "README.md").read_text()
        assert f"| balance | from level {level} of 2 (chosen without labels), evenness 0.75, seed 0 |" in card
        front = yaml.safe_load(card.split("---\n")[1])
        assert front["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
        assert "license" not in front
        assert "arXiv 2405.15613" in card


def test_files_are_links_under_the_names_of_hugging_face(pools: dict[str, Pool]) -> None:
    pool = pools["image"]
    dataset = pool.storage.output("balanced_dataset").folder / "small"
    shards = sorted(Path(str(dataset)).glob("*.parquet"))
    data = sorted((release_of(pool) / "data").iterdir())
    assert [path.name for path in data] == [
        f"train-{i:05}-of-{len(shards):05}.parquet" for i in range(len(shards))
    ]
    assert all(new.samefile(old) for new, old in zip(data, shards, strict=True))


@pytest.mark.parametrize("modality", MAKERS)
def test_the_same_inputs_give_the_same_bytes(pools: dict[str, Pool], modality: str, tmp_path: Path) -> None:
    again = MAKERS[modality](tmp_path)
    for asset in ("balanced_dataset", "dataset_release"):
        folders = [Path(str(pool.storage.output(asset).folder)) for pool in (pools[modality], again)]
        contents = [
            {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))
             if path.is_file() and not path.name.endswith("facts.json")}
            for folder in folders
        ]  # fmt: skip
        assert contents[0] == contents[1]
    facts = again.storage.output("dataset_release").require_facts()
    again.release()
    assert again.storage.output("dataset_release").require_facts().digest == facts.digest


def test_only_what_is_asked_for_is_written(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_tar(tmp_path / "raw" / "a.tar", {f"a{i}": png(None, i) for i in range(20)})
    pool = curated(Pool(tmp_path, outputs=["ids"]))
    facts = pool.storage.output("balanced_dataset", "a").require_facts()
    assert (facts.files, facts.summary["n_written"]) == ({}, {"small": 15, "typical": 9})
    assert sorted(path.name for path in release_of(pool).iterdir()) == [
        "README.md",
        "ids.txt",
        "manifest.json",
    ]
    tars = Pool(tmp_path, outputs=["webdataset"])
    tars.finish()
    assert sorted(tars.storage.output("balanced_dataset", "a").require_facts().files) == [
        "small/tar",
        "typical/tar",
    ]
    tars.release()
    assert sorted(path.name for path in release_of(pool).iterdir()) == ["README.md", "manifest.json"]


def test_what_is_excluded_has_no_weight(pools: dict[str, Pool], tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "raw", [60])
    settings: dict[str, Any] = {"deduplication": {}, "outputs": ["weights"]}
    pool = EmbeddedPool(tmp_path, {"id_field": "image_path"}, **settings)
    pool.ingest()
    pool.embed()
    kept = np.array([row for row in range(60) if row % 5])
    [shard] = pool.storage.shards()
    plain = EmbeddedPool(tmp_path, {"id_field": "image_path"})
    plain.cluster()
    plain.select()
    with pool.storage.output("admitted", shard.key).writing(RECIPE) as writer:
        Admitted.kept.write(writer, kept)
        writer.summary.update(n_rows=len(kept))
    with pytest.raises(CurationError, match="48 samples are admissible, but the selection counted 60"):
        pool.release()
    clusters = pool.storage.output("level_1_assign", shard.key).table("parquet")["cluster"].to_numpy()
    sizes = np.bincount(clusters[kept], minlength=12)
    selection = pool.storage.output("selection")
    tables = {name: selection.table(name) for name in ("selected.parquet", "duplicates.parquet")}
    quotas = pl.concat(
        [
            pl.DataFrame({"target": target, "level": 1, "cluster": range(12), "size": sizes, "quota": sizes})
            for target in ("small", "typical")
        ]
    )
    tables |= {"quotas.parquet": quotas, "weights.parquet": quotas.with_columns(weight=1.0)}
    summary = dict(selection.require_facts().summary)
    with selection.writing(RECIPE) as writer:
        for name, table in tables.items():
            writer.table(name, table)
        writer.summary.update(summary)
    pool.release()
    weights = pl.read_parquet(release_of(pool) / "weights.parquet")
    assert weights["sample_id"].to_list() == [f"00000{row:04}" for row in kept]
    assert (weights["weight"] == 1).all()


def test_an_id_that_fits_no_list_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a raw pool has it that was stored before ids were checked when they are read.
    monkeypatch.setattr(accounts, "_LINE_BREAK", re.compile("(?!)"))
    write_clip_retrieval(tmp_path / "raw", [30])
    path = tmp_path / "raw" / "metadata" / "metadata_0.parquet"
    ids = [f"line\nbreak {row}" for row in range(30)]
    pq.write_table(pq.read_table(path).set_column(0, "image_path", [ids]), path)
    with pytest.raises(CurationError, match=r"the id 'line\\nbreak \d+' has a line break"):
        curated(EmbeddedPool(tmp_path, {"id_field": "image_path"}, outputs=["ids"]))


@pytest.mark.parametrize("files_per_shard", [1, 2])
def test_columns_whose_types_do_not_agree_become_text(tmp_path: Path, files_per_shard: int) -> None:
    write_clip_retrieval(tmp_path / "raw", [30, 30])
    first, second = (tmp_path / "raw" / "metadata" / f"metadata_{number}.parquet" for number in range(2))
    table = pq.read_table(first).append_column("twice", [["a"] * 30]).append_column("twice", [["b"] * 30])
    table = table.append_column("boxes", [[[1, 2], None] * 15]).append_column("seen", [[0.5, None] * 15])
    pq.write_table(table, first)
    table = (
        pq.read_table(second).append_column("boxes", [["none"] * 30]).append_column("only_here", [[1] * 30])
    )
    pq.write_table(table.set_column(3, "width", [["wide"] * 30]), second)
    source = {"id_field": "image_path", "files_per_shard": files_per_shard}
    pool = curated(
        EmbeddedPool(tmp_path, source, outputs=["parquet"], targets=[{"name": "small", "fraction": 1.0}])
    )
    files = sorted((release_of(pool) / "data").iterdir())
    assert len({pq.read_schema(file) for file in files}) == 1
    rows = pl.concat([pl.read_parquet(file) for file in files])
    assert dict(rows.select("width", "boxes", "seen", "only_here").schema) == {
        "width": pl.String, "boxes": pl.String, "seen": pl.Float64, "only_here": pl.Int64,
    }  # fmt: skip
    assert set(rows.select("twice", "metadata_twice").rows()) == {("a", "b"), (None, None)}
    assert set(rows["boxes"].to_list()) == {"[1, 2]", None, "none"}
    assert rows["width"].str.contains(r"^(\d+|wide)$").all()
