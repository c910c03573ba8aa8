from __future__ import annotations

import datetime
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from upath import UPath

from curation_assets.errors import ShardError
from curation_assets.formats import build_reader
from curation_assets.formats.base import RawSample, Rejection
from curation_assets.formats.parquet import ParquetReader
from curation_assets.pools import ParquetSource
from curation_assets_tests.formats.tars import image_bytes, summary
from curation_assets_tests.formats.test_jsonl import ANY_TEXT, SCRIPTS

FORMATS = {
    "PNG": "png",
    "JPEG": "jpg",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
    "PPM": "ppm",
}


def source_of(modality: str, **changes: Any) -> ParquetSource:
    return ParquetSource.model_validate({"path": ".", "format": "parquet", "modality": modality, **changes})


def read(path: Path, modality: str = "text", **changes: Any) -> list[RawSample | Rejection]:
    return list(ParquetReader(UPath(path.parent), source_of(modality, **changes)).read(path.name))


def write(folder: Path, columns: Any, **options: Any) -> Path:
    path = folder / "0.parquet"
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
    return path


def test_images_of_hugging_face_are_read_back(tmp_path):
    pictures = [Image.fromarray(np.full((4, 5, 3), 40 * n, np.uint8)) for n in range(4)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    dataset = datasets.Dataset.from_dict({"image": pictures, "label": [0, 1, 0, 1]}, features=features)
    path = tmp_path / "train-00000-of-00001.parquet"
    dataset.to_parquet(path)
    results = read(path, "image", label_fields=["label"])
    assert summary(results) == [f"train-00000-of-00001:{n}" for n in range(4)]
    for row, (sample, picture) in enumerate(zip(results, pictures, strict=True)):
        assert isinstance(sample, RawSample)
        assert (sample.member, sample.offset, list(sample.parts)) == (f"row {row}", row, ["png", "json"])
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(sample.content))), np.asarray(picture))
        assert sample.parts["png"] == sample.content
        assert sample.parts["json"] == b'{"label": %d}' % (row % 2)
        assert sample.attributes == {"label": row % 2}


def test_a_data_set_of_files_keeps_their_bytes(tmp_path):
    names = []
    for image_format, extension in FORMATS.items():
        names.append(str(tmp_path / f"x.{extension}"))
        Path(names[-1]).write_bytes(image_bytes(image_format=image_format))
    dataset = datasets.Dataset.from_dict({"picture": names}).cast_column("picture", datasets.Image())
    dataset.to_parquet(tmp_path / "0.parquet")
    not_embedded = read(tmp_path / "0.parquet", "image", image_field="picture")
    assert {result.reason for result in not_embedded} == {"missing_field"}
    dataset = dataset.with_format("arrow").map(datasets.table.embed_table_storage, batched=True)
    dataset.to_parquet(tmp_path / "0.parquet")
    results = read(tmp_path / "0.parquet", "image", image_field="picture")
    assert [result.content for result in results] == [Path(name).read_bytes() for name in names]
    assert [next(iter(result.parts)) for result in results] == list(FORMATS.values())


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())]
)
def test_images_may_be_plain_bytes(tmp_path, kind):
    images = pa.array([image_bytes(), image_bytes("blue", image_format="JPEG")], pa.binary())
    table = pa.table({"jpg": images.cast(kind), "other_image": images, "url": ["u", "v"]})
    first, second = read(write(tmp_path, table), "image", image_field="jpg", id_field="url")
    assert (first.sample_id, first.content, list(first.parts)) == ("u", images[0].as_py(), ["png", "json"])
    assert (second.sample_id, second.content, list(second.parts)) == ("v", images[1].as_py(), ["jpg", "json"])
    assert first.attributes == {"url": "u"}


def test_the_extension_falls_back_on_the_path(tmp_path):
    images = [
        {"bytes": b"??", "path": "a/B.JPEG"},
        {"bytes": b"??", "path": "c.exe"},
        {"bytes": b"", "path": None},
    ]
    results = read(write(tmp_path, {"image": images}), "image")
    assert [next(iter(result.parts)) for result in results] == ["jpeg", "bin", "bin"]


def test_a_row_without_image_is_rejected(tmp_path):
    images = [{"bytes": image_bytes(), "path": "a.png"}, None, {"bytes": None, "path": "/data/b.png"}]
    results = read(write(tmp_path, {"image": images, "id": [5, 6, 7]}), "image", id_field="id")
    assert summary(results) == ["5", "6: missing_field", "7: missing_field"]
    assert "is null" in results[1].detail
    assert "only names the file /data/b.png" in results[2].detail


def test_rows_that_img2dataset_could_not_download_are_told_apart(tmp_path):
    path = write(
        tmp_path,
        {
            "key": ["000000000", "000000001"],
            "jpg": [image_bytes(image_format="JPEG"), None],
            "url": ["https://a", "https://b"],
            "status": ["success", "failed_to_download"],
            "error_message": [None, "HTTP Error 404: Not Found"],
        },
    )
    results = read(path, "image", image_field="jpg", id_field="key")
    assert summary(results) == ["000000000", "000000001: download_failed"]
    assert results[1].detail == "failed_to_download: HTTP Error 404: Not Found (https://b)"


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.binary()],
)
def test_texts_of_many_scripts_survive_in_every_type(tmp_path, kind):
    table = pa.table({"body": pa.array(SCRIPTS, pa.string()).cast(kind), "n": range(len(SCRIPTS))})
    results = read(write(tmp_path, table, row_group_size=3), text_field="body", id_field="n")
    assert [result.content.decode() for result in results] == SCRIPTS
    assert [result.sample_id for result in results] == [str(n) for n in range(len(SCRIPTS))]
    assert [result.offset for result in results] == list(range(len(SCRIPTS)))
    assert results[3].parts == {"txt": SCRIPTS[3].encode(), "json": b'{"n": 3}'}


@given(
    rows=st.lists(st.tuples(ANY_TEXT, st.none() | ANY_TEXT, st.integers(-(2**63), 2**63 - 1)), max_size=20)
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_of_polars_are_read_back(tmp_path, rows):
    frame = pl.DataFrame(rows, schema={"text": pl.String, "more": pl.String, "n": pl.Int64}, orient="row")
    frame.write_parquet(tmp_path / "p.parquet")
    results = read(tmp_path / "p.parquet")
    if not rows:
        assert summary(results) == ["p.parquet: empty_file"]
        return
    assert summary(results) == [f"p:{n}" for n in range(len(rows))]
    assert [(r.content.decode(), r.attributes["more"], r.attributes["n"]) for r in results] == rows
    assert [json.loads(r.parts["json"])["more"] for r in results] == frame["more"].to_list()


def test_what_json_lacks_becomes_text_or_null_and_bytes_are_left_out(tmp_path):
    table = pa.table(
        {
            "text": ["a"],
            "when": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", "UTC")),
            "day": [datetime.date(2024, 2, 29)],
            "far": pa.array([4_000_000], pa.date32()),
            "price": pa.array(["1.50"]).cast(pa.decimal128(5, 2)),
            "score": [float("nan")],
            "nested": [{"b": [1.5, float("inf")], "a": [{"x": True}]}],
            "thumb": [b"\xff\xd8"],
            "deep": [[{"image": b"\xff"}]],
            "map": pa.array([[("k", b"v")]], pa.map_(pa.string(), pa.binary())),
        }
    )
    (sample,) = read(write(tmp_path, table))
    document = json.loads(sample.parts["json"])
    assert document == {
        "when": "2023-11-14 22:13:20.123456789Z",
        "day": "2024-02-29",
        "far": "12921-08-18",
        "price": "1.50",
        "score": None,
        "nested": {"a": [{"x": True}], "b": [1.5, None]},
    }
    assert list(document) == sorted(document)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([1, 2, 1], pa.uint64()), ["1", "2", "1: duplicate_id"]),
        (pa.array([1, None, -2], pa.int8()), ["1", "0:1: missing_field", "-2"]),
        (pa.array(["ä", "", "b"], pa.large_string()), ["ä", "0:1: missing_field", "b"]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x: duplicate_id"]),
    ],
)
def test_ids_of_any_text_or_whole_number_type(tmp_path, ids, expected):
    results = read(write(tmp_path, {"text": ["a", "b", "c"], "id": ids}), id_field="id")
    assert summary(results) == expected


def test_a_row_with_bad_utf8_is_rejected_alone(tmp_path):
    bad = pa.array([b"good", b"b\xffd", b"fine"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, bad.buffers())
    for columns in ({"text": text}, {"text": ["a", "b", "c"], "other": text}):
        results = read(write(tmp_path, columns))
        assert summary(results) == ["0:0", "0:1: invalid_utf8", "0:2"]
        assert "invalid UTF-8 at byte 1 of a text" in results[1].detail


def test_a_null_text_is_rejected(tmp_path):
    results = read(write(tmp_path, {"text": ["a", None], "id": [1, 2]}), id_field="id")
    assert summary(results) == ["1", "2: missing_field"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text_field": "body"}, ["source.text_field is 'body'", "no column of that name", "are text, n, image"]),
        ({"id_field": "key"}, ["source.id_field is 'key'", "no column of that name", "text, n, image"]),
        ({"label_fields": ["topic"]}, ["source.label_fields is 'topic'", "no column of that name"]),
        ({"label_fields": ["image"]}, ["source.label_fields is 'image'", "type binary"]),
        ({"text_field": "n"}, ["source.text_field is 'n'", "type double", "not of texts", "text (string)"]),
        ({"id_field": "n"}, ["source.id_field is 'n'", "type double", "not of texts or whole numbers"]),
        ({"modality": "image", "image_field": "text"}, ["source.image_field is 'text'", "type string"]),
        ({"modality": "image", "image_field": "img"}, ["source.image_field is 'img'", "correct source.image_field"]),
    ],
)  # fmt: skip
def test_a_wrong_column_is_an_error_that_names_file_and_columns(tmp_path, changes, words):
    path = write(tmp_path, {"text": ["a"], "n": [1.5], "image": [b"x"]})
    with pytest.raises(ShardError) as caught:
        read(path, **{"modality": "text", **changes})
    for part in ["0.parquet: ", *words]:
        assert part in str(caught.value)


def test_a_repeated_column_name_is_an_error(tmp_path):
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    with pytest.raises(ShardError, match="more than one column of that name"):
        read(write(tmp_path, table))


WHOLE = io.BytesIO()
pq.write_table(pa.table({"text": [f"{n} {'x' * n}" for n in range(300)]}), WHOLE, row_group_size=100)
WHOLE_BYTES = WHOLE.getvalue()


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"", "empty_file", "no bytes"),
        (b"PAR1", "unreadable_file", "cut or damaged"),
        (WHOLE_BYTES[:-1], "unreadable_file", "begins as Parquet but is cut"),
        (WHOLE_BYTES[: len(WHOLE_BYTES) // 2], "unreadable_file", "begins as Parquet but is cut"),
        (b"<html>404</html>" * 9, "unreadable_file", "not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_opened_is_rejected_whole(tmp_path, content, reason, words):
    (tmp_path / "0.parquet").write_bytes(content)
    (result,) = read(tmp_path / "0.parquet")
    assert (result.sample_id, result.member, result.reason) == ("0.parquet", None, reason)
    assert words in result.detail


def test_rows_before_a_damaged_page_come_out(tmp_path):
    metadata = pq.ParquetFile(io.BytesIO(WHOLE_BYTES)).metadata
    content = bytearray(WHOLE_BYTES)
    start = metadata.row_group(2).column(0).dictionary_page_offset
    content[start : start + 60] = b"\xff" * 60
    (tmp_path / "0.parquet").write_bytes(content)
    results = read(tmp_path / "0.parquet")
    assert [r.sample_id for r in results[:-1]] == [f"0:{n}" for n in range(200)]
    assert results[-1].reason == "unreadable_file"
    assert "damaged after row 200" in results[-1].detail


@given(st.lists(st.tuples(st.integers(0, len(WHOLE_BYTES) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_end_in_results_or_a_named_error(tmp_path, flips):
    content = bytearray(WHOLE_BYTES)
    for position, value in flips:
        content[position] = value
    (tmp_path / "0.parquet").write_bytes(content)
    try:
        results = read(tmp_path / "0.parquet")
    except ShardError as error:
        results = [str(error)]
    assert results
    assert isinstance(results[0], RawSample | Rejection) or "source.text_field" in results[0]


def test_a_file_is_closed_by_its_magic(tmp_path):
    (tmp_path / "a.parquet").write_bytes(WHOLE_BYTES)
    (tmp_path / "b.parquet").write_bytes(WHOLE_BYTES[:-4])
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    reader = ParquetReader(UPath(tmp_path), source_of("text"))
    assert {file.path: reader.is_closed(file) for file in reader.list_files()} == {
        "a.parquet": True,
        "b.parquet": False,
        "c.parquet": False,
    }


def test_a_pool_may_lie_on_any_fsspec_file_system():
    root = UPath("memory://parquet-pool/data")
    root.mkdir(parents=True, exist_ok=True)
    (root / "0.parquet").write_bytes(WHOLE_BYTES)
    reader = build_reader(source_of("text", path="memory://parquet-pool"), Path("/elsewhere"))
    (file,) = reader.list_files()
    assert (file.path, reader.is_closed(file)) == ("data/0.parquet", True)
    assert len(list(reader.read(file.path))) == 300
    with pytest.raises(ShardError, match="no such file"):
        list(reader.read("data/1.parquet"))


def test_failing_storage_is_not_taken_for_a_damaged_file(monkeypatch, tmp_path):
    class FailingFile(io.BytesIO):
        def read(self, size=-1):
            if self.tell() < len(WHOLE_BYTES) // 2:
                raise OSError("connection reset")
            return super().read(size)

    reader = ParquetReader(UPath(tmp_path), source_of("text"))
    monkeypatch.setattr(reader._root.fs, "open", lambda *_: FailingFile(WHOLE_BYTES))
    with pytest.raises(ShardError, match="connection reset"):
        list(reader.read("0.parquet"))


def test_memory_is_bounded_by_a_batch_not_by_the_row_group(tmp_path):
    texts = [f"{n:05}" * 200 for n in range(100_000)]
    write(tmp_path, {"text": texts}, compression="none", use_dictionary=False)
    del texts
    reader = ParquetReader(UPath(tmp_path), source_of("text"))
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    n_rows, arrow_peak = 0, 0
    for sample in reader.read("0.parquet"):
        n_rows += len(sample.content) == 1000
        arrow_peak = max(arrow_peak, pa.total_allocated_bytes() - before)
    python_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_rows == 100_000
    assert python_peak < 10e6
    assert arrow_peak < 10e6


def test_times_of_an_unknown_zone_are_those_of_utc(tmp_path):
    moments = pa.array([0, 1], pa.timestamp("s", "tzutc()"))
    inner = pa.array([{"at": 0}, None], pa.struct([("at", pa.timestamp("s", "tzutc()"))]))
    path = write(tmp_path, {"text": ["a", "b"], "at": moments})
    first, _ = read(path, modality="text")
    assert first.attributes["at"] == "1970-01-01 00:00:00.000Z"
    nested = {"inner": inner, "list": pa.array([[0], []], pa.list_(pa.timestamp("ns", "Mars/Olympus")))}
    first, second = read(write(tmp_path, {"text": ["a", "b"], **nested}), modality="text")
    at = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert first.attributes == {"inner": {"at": at}, "list": [at]}
    assert second.attributes == {"inner": None, "list": []}


def test_whole_floats_are_ids_and_others_are_an_error(tmp_path):
    path = write(tmp_path, {"text": ["a", "b"], "n": [1000001.0, 2.0]})
    assert summary(read(path, modality="text", id_field="n")) == ["1000001", "2"]
    path = write(tmp_path, {"text": ["a", "b"], "n": [1.0, 2.0**60]})
    with pytest.raises(
        ShardError, match=r"0\.parquet: source\.id_field is 'n', a column of type double.*in row 1"
    ):
        read(path, modality="text", id_field="n")
