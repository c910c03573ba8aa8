from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation_assets.formats import build_writer, output_suffix
from curation_assets.formats.base import RawSample
from curation_assets.formats.parquet_writer import ParquetWriter
from curation_assets_tests.formats.tars import image_bytes

SCHEMA = pa.schema(
    [("level_1", pa.int64()), ("level_2", pa.int64()), ("distance", pa.float32()), ("label", pa.string())]
)


def make_sample(n: int) -> RawSample:
    content = image_bytes((n, 0, 0))
    return RawSample(
        f"{n:03}", "b/0.tar", f"{n:03}.png", 512, content, {"png": content, "txt": f"nr {n}".encode()}
    )


def make_record(n: int) -> dict:
    return {"level_1": np.int64(n), "level_2": 0, "distance": np.float32(n / 2), "label": "ä"}


def write(path, count: int, **options):
    with ParquetWriter(path, record_schema=SCHEMA, **options) as writer:
        for n in range(count):
            writer.write(make_sample(n), make_record(n))
    return path


def test_a_row_holds_the_sample_and_its_record(tmp_path):
    table = pq.read_table(write(tmp_path / "0.parquet", 2))
    assert table.schema.field("level_1").type == pa.int64()
    assert table.schema.field("distance").type == pa.float32()
    assert table.to_pylist()[1] == {
        "sample_id": "001",
        "image": {"bytes": make_sample(1).content, "path": "001.png"},
        "caption": "nr 1",
        "source_file": "b/0.tar",
        "source_member": "001.png",
        "metadata": None,
        **make_record(1),
    }


def test_caption_and_columns_may_be_missing(tmp_path):
    bare = dataclasses.replace(make_sample(0), parts={})
    broken = dataclasses.replace(make_sample(1), parts={"txt": b"\xff!"})
    with ParquetWriter(tmp_path / "0.parquet", record_schema=SCHEMA) as writer:
        writer.write(bare, {"sample_id": "qualified"})
        writer.write(broken, {})
    rows = pq.read_table(tmp_path / "0.parquet").to_pylist()
    assert [row["caption"] for row in rows] == [None, "\ufffd!"]
    assert [row["sample_id"] for row in rows] == ["qualified", "001"]
    assert rows[0]["level_1"] is None


def test_row_groups_are_bounded_by_bytes(tmp_path):
    def row_counts(row_group_bytes: int) -> list[int]:
        path = tmp_path / f"{row_group_bytes}.parquet"
        with ParquetWriter(path, record_schema=SCHEMA, row_group_bytes=row_group_bytes) as writer:
            for size in (40, 40, 20, 1, 150, 30):
                writer.write(dataclasses.replace(make_sample(0), content=bytes(size)), {})
        metadata = pq.ParquetFile(path).metadata
        assert metadata.row_group(0).column(0).compression == "ZSTD"
        return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]

    assert row_counts(100) == [3, 1, 1, 1]
    assert row_counts(1) == [1] * 6
    assert row_counts(1000) == [6]


def test_equal_samples_give_equal_bytes(tmp_path):
    first = write(tmp_path / "0.parquet", 5, row_group_bytes=200).read_bytes()
    assert write(tmp_path / "1.parquet", 5, row_group_bytes=200).read_bytes() == first


def test_wrong_columns_name_the_remedy(tmp_path):
    with pytest.raises(ValueError, match="leave out image, sample_id"):
        ParquetWriter(
            tmp_path / "0.parquet",
            record_schema=pa.schema([("sample_id", pa.string()), ("image", pa.null())]),
        )
    with pytest.raises(ValueError, match="row_group_bytes is 0"):
        ParquetWriter(tmp_path / "0.parquet", record_schema=SCHEMA, row_group_bytes=0)
    with (
        ParquetWriter(tmp_path / "0.parquet", record_schema=SCHEMA) as writer,
        pytest.raises(ValueError, match="level_3"),
    ):
        writer.write(make_sample(0), {"level_3": 1})
    with pytest.raises(ValueError, match="choose from webdataset, parquet"):
        build_writer("csv", tmp_path / "0.csv", record_schema=SCHEMA)


def test_a_value_of_another_type_is_refused(tmp_path):
    with (
        pytest.raises(pa.ArrowException),
        ParquetWriter(tmp_path / "0.parquet", record_schema=SCHEMA) as writer,
    ):
        writer.write(make_sample(0), {"level_1": "three"})


def test_hugging_face_datasets_decodes_the_images(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    # A shard of which nothing was selected must not spoil the others.
    paths = [tmp_path / f"{name}.{output_suffix('parquet')}" for name in ("empty", "full")]
    for path, count in zip(paths, (0, 3), strict=True):
        with build_writer("parquet", path, record_schema=SCHEMA) as writer:
            for n in range(count):
                writer.write(make_sample(n), make_record(n))
    files = [str(path) for path in paths]
    data = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert data.features["image"] == datasets.Image()
    assert data.features["level_2"] == datasets.Value("int64")
    assert data.num_rows == 3
    for n, row in enumerate(data):
        assert row["image"].getpixel((0, 0)) == (n, 0, 0)
        assert (row["caption"], row["level_1"], row["label"]) == (f"nr {n}", n, "ä")


def test_a_text_pool_has_its_text_and_no_image(tmp_path):
    text = "Grüße 猫 👩‍👩‍👧".encode()
    sample = RawSample(
        "a", "0.jsonl", "row 3", 3, b"\xef\xbb\xbf" + text, {"txt": text}, {"n": 1, "b": b"\x00"}
    )
    with build_writer("parquet", tmp_path / "0.parquet", record_schema=SCHEMA, modality="text") as writer:
        writer.write(sample, {"level_1": 4})
    table = pq.read_table(tmp_path / "0.parquet")
    assert table.column_names == [
        "sample_id", "text", "source_file", "source_member", "metadata", *SCHEMA.names
    ]  # fmt: skip
    assert table.schema.metadata is None or b"huggingface" not in table.schema.metadata
    [row] = table.to_pylist()
    assert (row["text"], row["source_member"], row["level_1"]) == (text.decode(), "row 3", 4)
    assert row["metadata"] == '{"n":1,"b":"AA=="}'


def test_the_row_of_a_table_is_no_file_name(tmp_path):
    sample = dataclasses.replace(make_sample(1), member="row 17", attributes={"url": "x"})
    with ParquetWriter(tmp_path / "0.parquet", record_schema=SCHEMA) as writer:
        writer.write(sample, {})
    [row] = pq.read_table(tmp_path / "0.parquet").to_pylist()
    assert row["image"]["path"] is None
    assert row["metadata"] == '{"url":"x"}'
