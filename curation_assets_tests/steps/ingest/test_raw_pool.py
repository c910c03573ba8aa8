"""Pools of every format through ingest and embed: what was listed is found again by file and offset."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.encoders.base import Encoder
from curation_assets.errors import CurationError
from curation_assets.formats import build_reader
from curation_assets.formats.base import RejectionReason
from curation_assets.pools import PoolSpec
from curation_assets.steps.ingest.accepted import ShardSource
from curation_assets.steps.ingest.embed import embed_samples
from curation_assets.steps.soundness import require_usable_pool
from curation_assets.storage.outputs import Facts
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import group_files, relisted
from curation_assets.storage.tables import RawPool
from curation_assets_tests.formats.downloads import Download, write_shard
from curation_assets_tests.formats.test_jsonl import SCRIPTS, compress, jsonl
from curation_assets_tests.steps.drawn_pool import RECIPE, MeanColours, Pool, png, write_tar
from curation_assets_tests.steps.making import make


class FirstLetters(Encoder):
    """Code points of the first four characters; keeps what it saw."""

    dimension = 4
    identity = {"model": "first letters"}  # noqa: RUF012 - stands for a property
    window = 3

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        self.seen += samples
        return np.array([[ord(c) % 251 + 1 for c in f"{text:<4}"[:4]] for text in samples], dtype=np.float32)


def pool_of(folder: Path, source: dict[str, Any]) -> tuple[PoolSpec, PoolStorage]:
    is_text = source.get("modality") == "text" or source.get("format") == "jsonl"
    encoder = {"kind": "sentence_transformers", "model": "m"} if is_text else {"kind": "bundled"}
    spec = PoolSpec.model_validate(
        {
            "name": "p",
            "source": {"path": "raw", **source},
            "encoder": encoder,
            "targets": [{"name": "t", "size": 1}],
        }
    )
    return spec, PoolStorage(str(folder / "curated"), "p")


def ingest_and_embed(spec: PoolSpec, storage: PoolStorage, folder: Path, encoder: Encoder) -> pl.DataFrame:
    reader = build_reader(spec.source, folder)
    storage.save_shards(group_files(reader.list_files(), spec.source.files_per_shard))
    tables = []
    for shard in storage.shards():
        raw = make(spec, storage, "raw_pool", shard, reader=reader)
        source = ShardSource(reader, shard, storage.raw_pool(shard.key), spec.source)
        with storage.output("embeddings", shard.key).writing(RECIPE) as writer:
            embed_samples(source, encoder, writer, metric="l2")
        n_rows = len(storage.output("embeddings", shard.key).array("npy"))
        tables.append(raw.table("parquet"))
        assert n_rows == tables[-1]["reason"].null_count()
    return pl.concat(tables)


LABELLED = [
    {"text": text, "ok": n % 2 == 0, "score": n / 2, "n": n, "topic": None} for n, text in enumerate(SCRIPTS)
]
LABELS = ["ok", "score", "n", "topic", "absent"]


def write_jsonl(raw: Path, name: str) -> None:
    (raw / name).write_bytes(compress(jsonl(*LABELLED, {"n": 1}, {"text": " "}), name))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_json_lines_are_listed_with_labels_and_found_again(tmp_path: Path, name: str) -> None:
    (tmp_path / "raw").mkdir()
    write_jsonl(tmp_path / "raw", name)
    spec, storage = pool_of(tmp_path, {"format": "jsonl", "label_fields": LABELS})
    encoder = FirstLetters()
    table = ingest_and_embed(spec, storage, tmp_path, encoder)
    assert encoder.seen == SCRIPTS
    assert table["reason"].drop_nulls().to_list() == ["missing_field", "empty_text"]
    assert table["n_characters"].to_list()[:-2] == [len(text) for text in SCRIPTS]
    assert table["offset"].to_list()[:-2] == list(range(len(SCRIPTS)))
    first, second = table.head(2).rows(named=True)
    assert [first[f"label_{name}"] for name in LABELS] == ["True", "0.0", "0", None, None]
    assert [second[f"label_{name}"] for name in LABELS] == ["False", "0.5", "1", None, None]


def test_parquet_texts_are_listed_with_labels_and_found_again(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    pq.write_table(pa.Table.from_pylist(LABELLED), tmp_path / "raw" / "a.parquet", row_group_size=4)
    source = {"format": "parquet", "modality": "text", "id_field": "n", "label_fields": LABELS[:-1]}
    spec, storage = pool_of(tmp_path, source)
    encoder = FirstLetters()
    table = ingest_and_embed(spec, storage, tmp_path, encoder)
    assert encoder.seen == SCRIPTS
    assert table["sample_id"].to_list() == [str(n) for n in range(len(SCRIPTS))]
    assert table["label_score"].to_list() == [str(n / 2) for n in range(len(SCRIPTS))]
    assert table["member"].to_list()[3] == "row 3"


def test_images_of_parquet_and_folder_are_the_same_samples(tmp_path: Path) -> None:
    images = [png(None, seed) for seed in range(5)]
    (tmp_path / "raw" / "cat").mkdir(parents=True)
    for n, image in enumerate(images):
        (tmp_path / "raw" / "cat" / f"{n}.png").write_bytes(image)
    (tmp_path / "raw" / "cat" / "broken.jpg").write_bytes(b"no image")
    structs = [{"bytes": image, "path": f"{n}.png"} for n, image in enumerate([*images, b"no image"])]
    pq.write_table(pa.table({"image": structs, "folder": ["cat"] * 6}), tmp_path / "raw" / "a.parquet")
    tables = []
    for name, format_ in (("a", "parquet"), ("b", "folder")):
        (tmp_path / name).mkdir()
        source = {"format": format_, "modality": "image", "label_fields": ["folder"], "path": "raw"}
        spec, storage = pool_of(tmp_path / name, source)
        table = ingest_and_embed(spec, storage, tmp_path, MeanColours())
        assert table["label_folder"].unique().to_list() == ["cat"]
        assert table["reason"].drop_nulls().to_list() == ["not_an_image"]
        tables.append(table.sort("content_sha256").select("content_sha256", "width", "height", "size_bytes"))
    assert tables[0].equals(tables[1])


def test_a_folder_makes_shards_of_many_files(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for n, text in enumerate(SCRIPTS):
        (tmp_path / "raw" / f"{n:02}.txt").write_text(text, encoding="utf-8")
    spec, storage = pool_of(tmp_path, {"format": "folder", "modality": "text", "files_per_shard": 4})
    encoder = FirstLetters()
    ingest_and_embed(spec, storage, tmp_path, encoder)
    assert len(storage.shards()) == 3
    assert encoder.seen == SCRIPTS


def test_what_was_written_to_a_webdataset_is_embedded_as_text_or_image(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_tar(tmp_path / "raw" / "a.tar", {"x": png(None, 1)})
    spec, storage = pool_of(tmp_path, {"modality": "text"})
    table = ingest_and_embed(spec, storage, tmp_path, FirstLetters())
    assert table["reason"].to_list() == ["no_text_member"]


def test_failed_downloads_are_recorded_but_say_nothing_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    downloads = [Download(f"https://a.example/{n}", error="timeout" if n > 1 else None) for n in range(10)]
    write_shard(tmp_path / "raw", downloads)
    spec, storage = pool_of(tmp_path, {"max_rejected_share": 0.1, "label_fields": ["caption"]})
    table = ingest_and_embed(spec, storage, tmp_path, MeanColours())
    facts = storage.output("raw_pool", "00000").require_facts()
    assert facts.summary["rejections"] == {RejectionReason.DOWNLOAD_FAILED.value: 8}
    assert (facts.summary["n_rows"], facts.summary["n_accepted"]) == (10, 2)
    assert table["label_caption"].to_list() == ["a caption"] * 2 + [None] * 8
    require_usable_pool(spec, storage)

    (tmp_path / "raw" / "00000.parquet").write_bytes(b"broken")
    ingest_and_embed(spec, storage, tmp_path, MeanColours())
    with pytest.raises(CurationError, match=r"33% of the 3 samples .* \(unreadable_file: 1\)"):
        require_usable_pool(spec, storage)


def test_files_that_cannot_be_read_stop_the_pool_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl").write_bytes(b'{"text": "a"}\n' * 20)
    (tmp_path / "raw" / "b.jsonl").write_bytes(b"[" + b'{"text": "a"}, ' * 400 + b"]\n")
    spec, storage = pool_of(tmp_path, {"format": "jsonl"})
    ingest_and_embed(spec, storage, tmp_path, FirstLetters())
    with pytest.raises(
        CurationError, match=r"of 1 of 2 files nothing could be used \(96% of the bytes\): b\.jsonl"
    ):
        require_usable_pool(spec, storage)


def test_half_of_the_urls_may_fail_where_no_rejection_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_shard(tmp_path / "raw", [Download("https://a.example/0"), Download("https://b", error="timeout")])
    spec, storage = pool_of(tmp_path, {"max_rejected_share": 0.0})
    table = ingest_and_embed(spec, storage, tmp_path, MeanColours())
    assert table["sample_id"].to_list() == ["000000000", "000000001"]
    assert "timeout" in table["detail"][1]
    require_usable_pool(spec, storage)


def test_ingest_lists_every_sample_with_its_label(drawn: Pool) -> None:
    table = drawn.storage.output("raw_pool", "b").table("parquet")
    assert table.height == 24
    assert table["label_kind"].to_list()[:3] == ["b", "b", "b"]
    assert table["id_hash"].n_unique() == 24
    raw = (drawn.folder / "raw" / "b.tar").read_bytes()
    row = table.row(0, named=True)
    assert raw[row["offset"] : row["offset"] + row["size_bytes"]] == png(None, 100)


def test_another_label_leaves_the_content_as_it_was_known(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_tar(tmp_path / "raw" / "a.tar", {f"a{i}": png(None, i) for i in range(4)})

    def facts_of(*labels: str) -> Facts:
        pool = Pool(tmp_path, source={"path": "raw", "label_fields": list(labels)})
        pool.ingest()
        return pool.storage.raw_pool("a").require_facts()

    first, second, third = facts_of(), facts_of("kind"), facts_of("kind", "colour")
    assert len({first.digest, second.digest, third.digest}) == 3
    known = [facts.digest_of(RawPool.CONTENT) for facts in (first, second, third)]
    assert known == [first.digest] * 3
    write_tar(tmp_path / "raw" / "a.tar", {f"a{i}": png(None, i + 1) for i in range(4)})
    changed = facts_of("kind", "colour")
    assert changed.digest_of(RawPool.CONTENT) == changed.digest
    stored = Path(str(Pool(tmp_path).storage.raw_pool("a").samples.path))
    stored.write_bytes(stored.read_bytes()[:100])
    damaged = facts_of("kind", "colour")
    assert (damaged.digest, damaged.digest_of(RawPool.CONTENT)) == (changed.digest, changed.digest)


def test_other_captions_leave_content_and_labels_as_they_were_known(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()

    def facts_of(**members: bytes) -> Facts:
        with tarfile.open(tmp_path / "raw" / "a.tar", "w") as tar:
            for name, content in {"a.png": png(None, 1), **members, "b.png": png(None, 2)}.items():
                header = tarfile.TarInfo(name)
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
        pool = Pool(tmp_path, source={"path": "raw", "label_fields": ["kind"]})
        pool.ingest()
        return pool.storage.raw_pool("a").require_facts()

    first = facts_of(**{"a.json": b'{"kind": "cat", "by": "me"}'})
    again = facts_of(**{"a.json": b'{"kind": "cat", "by": "me"}'})
    assert again.digest == first.digest
    redacted = facts_of(**{"a.json": b'{"kind": "cat", "by": "--"}'})
    assert redacted.digest != first.digest
    assert dict(redacted.parts) == {RawPool.CONTENT: first.digest, RawPool.LABELLED: first.digest}
    relabelled = facts_of(**{"a.json": b'{"kind": "dog", "by": "--"}'})
    assert dict(relabelled.parts) == {RawPool.CONTENT: first.digest}
    stored = Pool(tmp_path).storage.raw_pool("a").samples
    earlier = stored.read().drop(RawPool.EXTRAS)
    assert stored.read()[RawPool.EXTRAS].null_count() == 1, "b has nothing but its image"
    earlier.write_parquet(str(stored.path))
    captioned = facts_of(**{"a.json": b'{"kind": "dog", "by": "--"}', "a.txt": b"a dog"})
    assert captioned.parts[RawPool.CONTENT] == first.digest, "what follows moved, and is the same"
    replaced = facts_of(**{"a.png": png(None, 3)})
    assert dict(replaced.parts) == {}


def test_a_pool_that_was_restored_by_copying_is_read_again_and_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl").write_bytes(jsonl([{"text": text} for text in SCRIPTS]))
    spec, storage = pool_of(tmp_path, {"format": "jsonl"})
    reader = build_reader(spec.source, tmp_path)
    [known] = group_files(reader.list_files(), 1)
    before = make(spec, storage, "raw_pool", known, reader=reader).facts()
    shutil.copytree(tmp_path / "raw", tmp_path / "copy")
    shutil.rmtree(tmp_path / "raw")
    (tmp_path / "copy").rename(tmp_path / "raw")
    change = relisted(reader.list_files(), 1, [known])
    assert change.changed == ["a"]
    after = make(spec, storage, "raw_pool", change.shards[0], reader=reader).facts()
    assert before is not None
    assert after is not None
    assert after.files == before.files
    assert after.digest_of(RawPool.CONTENT) == before.digest_of(RawPool.CONTENT)
