"""Embeddings that exist already: their layouts, chunks and faults."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from curation_assets.errors import PoolSpecError, ShardError
from curation_assets.formats import build_reader, npy
from curation_assets.formats.base import RawSample, Rejection, RejectionReason
from curation_assets.formats.embeddings import EmbeddingsReader
from curation_assets.pools import EmbeddingsSource
from curation_assets_tests.formats.embedded import DIMENSION, write_clip_retrieval

FIRST = "img_emb/img_emb_0.npy"


def settings(**changes: Any) -> EmbeddingsSource:
    return EmbeddingsSource.model_validate(
        {"format": "embeddings", "path": ".", "encoder": "ViT-B/32", **changes}
    )


def reader_of(folder: Path | UPath, **changes: Any) -> EmbeddingsReader:
    return EmbeddingsReader(UPath(folder), settings(**changes))


def whole(reader: EmbeddingsReader, file: str) -> np.ndarray:
    return np.concatenate(list(reader.read_array(file)))


def test_a_row_of_metadata_is_a_sample(tmp_path: Path) -> None:
    arrays = write_clip_retrieval(tmp_path, [5, 3])
    columns = {"id_field": "url", "text_field": "caption", "label_fields": ("concept", "width")}
    reader = build_reader(settings(**columns), tmp_path)
    assert isinstance(reader, EmbeddingsReader)
    assert [file.path for file in reader.list_files()] == [FIRST, "img_emb/img_emb_1.npy"]
    samples = list(reader.read("img_emb/img_emb_1.npy"))
    assert len(samples) == 3
    sample = samples[2]
    assert isinstance(sample, RawSample)
    assert (sample.sample_id, sample.member, sample.offset) == (
        "https://example.org/1/2.jpg?w=1",
        "row 2",
        2,
    )
    assert (sample.content, dict(sample.parts)) == (b"", {})
    assert sample.attributes["caption"] == "Nr. 2 · ü 猫"
    assert sample.attributes["width"] == 202
    assert set(sample.attributes) == {"url", "caption", "concept", "width"}
    np.testing.assert_array_equal(whole(reader, FIRST), arrays[0])


def test_ids_of_file_and_row_tell_folders_apart(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "clip", [2] * 2, total=10)
    assert [sample.sample_id for sample in reader_of(tmp_path / "clip").read("img_emb/img_emb_01.npy")] == [
        "img_emb_01:0",
        "img_emb_01:1",
    ]
    for folder in ("a", "b/c"):
        (tmp_path / "plain" / folder).mkdir(parents=True)
        np.save(tmp_path / "plain" / folder / "x.npy", np.ones((1, 4), np.float32))
        pq.write_table(pa.table({"n": [7]}), tmp_path / "plain" / folder / "x.parquet")
    reader = reader_of(tmp_path / "plain", layout="folder")
    files = [file.path for file in reader.list_files()]
    assert files == ["a/x.npy", "b/c/x.npy"]
    assert [sample.sample_id for file in files for sample in reader.read(file)] == ["a/x:0", "b/c/x:0"]
    with pytest.raises(PoolSpecError, match=r"source.pattern is '\*\*/\*': end it in .npy"):
        reader_of(tmp_path, layout="folder", pattern="**/*")


def test_the_version_moves_with_either_file(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path, [4])
    reader = reader_of(tmp_path)
    versions = {reader.list_files()[0].version}
    table = tmp_path / "metadata" / "metadata_0.parquet"
    content = table.read_bytes()
    pq.write_table(pq.read_table(table).drop_columns(["caption"]), table)
    versions.add(reader.list_files()[0].version)
    table.unlink()
    versions.add(reader.list_files()[0].version)
    assert not reader.is_closed(reader.list_files()[0])
    table.write_bytes(content[:-1])
    assert not reader.is_closed(reader.list_files()[0])
    table.write_bytes(content)
    assert reader.is_closed(reader.list_files()[0])
    array = tmp_path / FIRST
    array.write_bytes(array.read_bytes()[:-1])
    versions.add(reader.list_files()[0].version)
    assert len(versions) == 4
    assert not reader.is_closed(reader.list_files()[0])


def test_columns_of_extension_types_are_ids_and_metadata(tmp_path: Path) -> None:
    keys = pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([bytes([n]) * 16 for n in range(3)], pa.binary(16))
    )
    write_clip_retrieval(tmp_path, [3], key=keys)
    reader = reader_of(tmp_path, id_field="key")
    assert [item.sample_id for item in reader.read(FIRST)][2] == "02020202-0202-0202-0202-020202020202"
    taken = reader.take_metadata(FIRST, np.array([0, 2]))
    assert (taken.num_rows, taken.schema.field("key").type) == (2, pa.uuid())


def test_missing_and_repeated_ids_are_rejected(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path, [5], key=["a", None, "", "a", "b"], number=[2.0, float("nan"), 3, 4, 5])
    found = list(reader_of(tmp_path, id_field="key").read(FIRST))
    assert [item.sample_id for item in found if isinstance(item, RawSample)] == ["a", "b"]
    assert [
        (item.sample_id, item.member, item.reason, item.detail)
        for item in found
        if isinstance(item, Rejection)
    ] == [
        ("img_emb_0:1", "row 1", RejectionReason.MISSING_FIELD, "the column 'key' is null or empty in row 1"),
        ("img_emb_0:2", "row 2", RejectionReason.MISSING_FIELD, "the column 'key' is null or empty in row 2"),
        ("a", "row 3", RejectionReason.DUPLICATE_ID, "the id was met before in this file, first in row 0"),
    ]
    ids = [item.sample_id for item in reader_of(tmp_path, id_field="number").read(FIRST)]
    assert ids == ["2", "img_emb_0:1", "3", "4", "5"]


def test_ids_may_be_numbers_and_times_lose_no_sample(tmp_path: Path) -> None:
    moment = pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", "UTC"))
    write_clip_retrieval(tmp_path, [1], number=[12345678901234567], at=moment)
    [sample] = reader_of(tmp_path, id_field="number", label_fields=("at",)).read(FIRST)
    assert isinstance(sample, RawSample)
    assert sample.sample_id == "12345678901234567"
    assert sample.attributes["at"] == datetime(2023, 11, 14, 22, 13, 20, 123456, UTC)
    taken = reader_of(tmp_path).take_metadata(FIRST, np.array([0]))
    assert taken["at"].type == moment.type
    assert taken["at"].combine_chunks().equals(moment)


@pytest.mark.parametrize("place", ["local", "memory"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_in_chunks_wherever_they_lie(
    tmp_path: Path, place: str, dtype: str, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npy.read_npy_rows, "__defaults__", (100,))
    folder = UPath(tmp_path) if place == "local" else UPath(f"memory://{tmp_path.name}")
    array = np.random.default_rng(0).standard_normal((23, 5)).astype(dtype, order=order)
    buffer, table = io.BytesIO(), io.BytesIO()
    np.save(buffer, array)
    pq.write_table(pa.table({"n": range(23)}), table)
    (folder / "x").mkdir(parents=True, exist_ok=True)
    (folder / "x" / "0.npy").write_bytes(buffer.getvalue())
    (folder / "x" / "0.parquet").write_bytes(table.getvalue())
    reader = reader_of(folder, layout="folder")
    assert [file.path for file in reader.list_files()] == ["x/0.npy"]
    assert all(reader.is_closed(file) for file in reader.list_files())
    chunks = list(reader.read_array("x/0.npy"))
    assert len(chunks) == -(-23 // max(1, 100 // (5 * array.dtype.itemsize)))
    np.testing.assert_array_equal(np.concatenate(chunks), array)
    assert len(list(reader.read("x/0.npy"))) == 23


def test_some_rows_of_metadata_keep_their_types(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path, [20_000], tags=pa.array([["a", "b"], None] * 10_000))
    rows = np.array([0, 8191, 8192, 19_999])
    taken = reader_of(tmp_path).take_metadata(FIRST, rows)
    assert taken.schema.metadata is None
    assert taken.schema.field("tags").type == pa.list_(pa.string())
    assert taken["width"].to_pylist() == (200 + rows).tolist()
    assert taken["tags"].to_pylist() == [["a", "b"], None, ["a", "b"], None]


def test_an_array_without_rows_is_an_empty_file(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path, [0])
    [rejection] = reader_of(tmp_path).read(FIRST)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is RejectionReason.EMPTY_FILE


class _Exploding:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("unpickled",))


def _replace_array(folder: Path, array: np.ndarray) -> None:
    np.save(folder / FIRST, array, allow_pickle=True)


def _cut_array(folder: Path) -> None:
    path = folder / FIRST
    path.write_bytes(path.read_bytes()[:-3])


def _shorter_table(folder: Path) -> None:
    path = folder / "metadata" / "metadata_0.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)


def _cut_table(folder: Path) -> None:
    path = folder / "metadata" / "metadata_0.parquet"
    path.write_bytes(path.read_bytes()[:-20])


def _damaged_page(folder: Path) -> None:
    path = folder / "metadata" / "metadata_0.parquet"
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)
    path.write_bytes(bytes(content))


def _rewrite(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path = folder / "metadata" / "metadata_0.parquet"
    pq.write_table(change(pq.read_table(path)), path)


FAULTS: list[tuple[str, Callable[[Path], Any], dict[str, Any], str]] = [
    (
        "fewer rows of metadata",
        _shorter_table,
        {},
        r"_0.npy: has 4 rows, but metadata/metadata_0.parquet has 3; .* write both again",
    ),
    (
        "another dimension than set",
        lambda _: None,
        {"dimension": 512},
        r"_0.npy: embeddings have dimension 8, but source.dimension is 512: embed the file with ViT-B/32",
    ),
    (
        "one dimension",
        lambda folder: _replace_array(folder, np.zeros(4, np.float16)),
        {},
        r"img_emb_0.npy: has the shape \(4,\), which is not \(samples, dimension\): save it again as float16",
    ),
    (
        "three dimensions",
        lambda folder: _replace_array(folder, np.zeros((4, 2, 2), np.float16)),
        {},
        r"has the shape \(4, 2, 2\)",
    ),
    (
        "no column",
        lambda folder: _replace_array(folder, np.zeros((4, 0), np.float16)),
        {},
        r"has the shape \(4, 0\)",
    ),
    (
        "integers",
        lambda folder: _replace_array(folder, np.zeros((4, 8), np.int8)),
        {},
        r"holds int8, but embeddings are float16, float32 or float64",
    ),
    (
        "pickled objects",
        lambda folder: _replace_array(folder, np.array([[_Exploding()]], dtype=object)),
        {},
        r"holds pickled Python objects, which are never loaded: save it again",
    ),
    (
        "truncated array",
        _cut_array,
        {},
        r"has 189 of the 192 bytes that its header announces; it is truncated: copy it again",
    ),
    (
        "no .npy at all",
        lambda folder: (folder / FIRST).write_bytes(b"PK\x03\x04 not npy"),
        {},
        r"img_emb_0.npy: no readable .npy header .*: save it again",
    ),
    (
        "hostile header",
        lambda folder: (folder / FIRST).write_bytes(b"\x93NUMPY\x01\x00\x0a\x00" + b"{(((((((((("),
        {},
        r"img_emb_0.npy: no readable .npy header",
    ),
    (
        "empty array file",
        lambda folder: (folder / FIRST).write_bytes(b""),
        {},
        r"img_emb_0.npy: no readable .npy header",
    ),
    (
        "no array",
        lambda folder: (folder / FIRST).unlink(),
        {},
        r"img_emb_0.npy: no such file; was it removed after the pool was listed\?",
    ),
    (
        "no metadata",
        lambda folder: (folder / "metadata" / "metadata_0.parquet").unlink(),
        {},
        r"img_emb_0.npy: its metadata metadata/metadata_0.parquet is missing: add it",
    ),
    (
        "truncated metadata",
        _cut_table,
        {},
        r"metadata_0.parquet: cannot be read as Parquet .*: write it again",
    ),
    ("damaged metadata", _damaged_page, {"id_field": "image_path"}, r"metadata_0.parquet: .* write it again"),
    (
        "no id column",
        lambda _: None,
        {"id_field": "key"},
        r"metadata_0.parquet: source.id_field names the column 'key', which is missing: choose from image_path",
    ),
    (
        "two id columns",
        lambda folder: _rewrite(folder, lambda table: table.append_column("image_path", table["image_path"])),
        {"id_field": "image_path"},
        r"metadata_0.parquet: source.id_field names the column 'image_path', which is there 2 times: choose from",
    ),
    (
        "ids of decimals",
        lambda folder: _rewrite(
            folder, lambda table: table.append_column("n", pa.array([Decimal("1.50")] * 4))
        ),
        {"id_field": "n"},
        r"source.id_field is 'n', a column of type decimal128\(3, 2\), not of texts or whole numbers: write ids",
    ),
    (
        "ids of booleans",
        lambda folder: _rewrite(folder, lambda table: table.append_column("n", pa.array([True] * 4))),
        {"id_field": "n"},
        r"metadata_0.parquet: source.id_field is 'n', a column of type bool, not of texts",
    ),
    (
        "a header that is no literal",
        lambda folder: (folder / FIRST).write_bytes(b"\x93NUMPY\x01\x00\x10\x00__import__('os')"),
        {},
        r"img_emb_0.npy: no readable .npy header \(ValueError: malformed node or string on line 1: <ast.Call>\): save",
    ),
    (
        "no text column",
        lambda _: None,
        {"text_field": "text"},
        r"source.text_field names the column 'text', which is missing",
    ),
    (
        "no token column",
        lambda _: None,
        {"token_count_field": "tokens"},
        r"source.token_count_field names the column 'tokens', which is missing",
    ),
    (
        "no label column",
        lambda _: None,
        {"label_fields": ("concept", "kind")},
        r"source.label_fields names the column 'kind', which is missing",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "changes", "message"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_faults_name_the_file_and_the_remedy(
    tmp_path: Path,
    spoil: Callable[[Path], Any],
    changes: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_clip_retrieval(tmp_path, [4])
    spoil(tmp_path)
    with pytest.raises(ShardError, match=message):
        list(reader_of(tmp_path, **changes).read(FIRST))
    assert "unpickled" not in capsys.readouterr().out


def test_the_first_sound_array_decides_the_dimension(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path, [4, 4, 4])
    (tmp_path / FIRST).write_bytes(b"broken")
    np.save(tmp_path / "img_emb" / "img_emb_2.npy", np.ones((4, DIMENSION + 1), np.float16))
    reader = reader_of(tmp_path)
    assert whole(reader, "img_emb/img_emb_1.npy").shape == (4, DIMENSION)
    with pytest.raises(
        ShardError,
        match=r"img_emb_2.npy: embeddings have dimension 9, but those of img_emb/img_emb_1.npy, the first "
        r"file, have 8: .* or set source.dimension",
    ):
        list(reader.read("img_emb/img_emb_2.npy"))
    with pytest.raises(ShardError, match=r"source.dimension is 9"):
        list(reader_of(tmp_path, dimension=9).read("img_emb/img_emb_1.npy"))
