from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from curation_assets.errors import ShardError
from curation_assets.formats import build_reader
from curation_assets.formats.base import RawSample, Rejection
from curation_assets.formats.jsonl import JsonlReader
from curation_assets.formats.texts import decode_text
from curation_assets.pools import JsonlSource
from curation_assets_tests.formats.tars import summary

SCRIPTS = [
    "Grüße aus Köln, “zitiert” — §7",
    "Съешь же ещё этих мягких французских булок",
    "敏捷的棕色狐狸跳过懒狗。𠮷野家",
    "いろはにほへと カタカナ ｶﾀｶﾅ",
    "다람쥐 헌 쳇바퀴에 타고파",
    "نص حكيم له سر قاطع‎ ١٢٣",
    "דג סקרן שט לו בים",
    "ऋषियों को सताने वाले दुष्ट राक्षसों",
    "เป็นมนุษย์สุดประเสริฐ",
    "ᚠᛇᚻ᛫ᛒᛦᚦ 𓀀𓁐 👩🏽‍🚀🇺🇳 \U0010fffd",
    "e\u0301 is not é; \u2028 \u2029 \x85 end no line; tab\t and \\ and \"quotes\" and \u0000",
]  # fmt: skip
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def jsonl(*documents: Any, **options: Any) -> bytes:
    return b"".join(json.dumps(document, **options).encode() + b"\n" for document in documents)


def compress(content: bytes, name: str) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(content)
    return pa.compress(content, codec="zstd", asbytes=True) if name.endswith(".zst") else content


def read(folder: Path, content: bytes, name: str = "a.jsonl", **source: Any) -> list[RawSample | Rejection]:
    (folder / name).write_bytes(content)
    return list(JsonlReader(UPath(folder), JsonlSource(path=".", format="jsonl", **source)).read(name))


def texts_of(results: list[RawSample | Rejection]) -> list[str]:
    assert all(isinstance(result, RawSample) for result in results), summary(results)
    return [result.content.decode() for result in results]


def test_a_sample_has_its_text_id_attributes_and_line(tmp_path):
    document = {"doc": 7, "text": "body", "score": 0.5, "tags": ["x"], "ok": True, "none": None}
    results = read(tmp_path, b"\n" + jsonl(document, {"doc": "b", "text": ""}), id_field="doc")
    first, second = results
    assert isinstance(first, RawSample)
    assert (first.sample_id, first.file, first.member, first.offset) == ("7", "a.jsonl", "line 1", 1)
    assert first.content == first.parts["txt"] == b"body"
    assert list(first.parts) == ["txt", "json"]
    assert first.parts["json"] == b'{"doc": 7, "none": null, "ok": true, "score": 0.5, "tags": ["x"]}'
    assert first.attributes == {name: value for name, value in document.items() if name != "text"}
    assert second.sample_id == "b"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.jsonl", "a"),
        ("a.jsonl.gz", "a"),
        ("a.v1.jsonl.zst", "a.v1"),
        ("c4.json.gz", "c4"),
        ("data", "data"),
    ],
)
def test_ids_are_made_of_file_and_line(tmp_path, name, stem):
    content = compress(jsonl({"text": "a"}) + b"\n \r\n" + jsonl({"text": "b"}), name)
    assert summary(read(tmp_path, content, name)) == [f"{stem}:0", f"{stem}:3"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_texts_of_many_scripts_survive_byte_for_byte(tmp_path, name, ensure_ascii):
    content = jsonl(*({"text": text} for text in SCRIPTS), ensure_ascii=ensure_ascii)
    results = read(tmp_path, compress(content, name), name)
    assert texts_of(results) == SCRIPTS
    assert [decode_text(result.content, 10**6) for result in results] == SCRIPTS


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_files_of_polars_are_read_back(tmp_path, name):
    frame = pl.DataFrame({"text": SCRIPTS, "n": range(len(SCRIPTS)), "part": ["x", None] * 5 + ["z"]})
    kinds: dict[str, Any] = {"a.jsonl": "uncompressed", "a.jsonl.gz": "gzip", "a.jsonl.zst": "zstd"}
    frame.lazy().sink_ndjson(tmp_path / name, compression=kinds[name])
    results = read(tmp_path, (tmp_path / name).read_bytes(), name, id_field="n")
    assert texts_of(results) == SCRIPTS
    assert [result.sample_id for result in results] == [str(n) for n in range(len(SCRIPTS))]
    assert [result.attributes["part"] for result in results] == frame["part"].to_list()


@pytest.mark.parametrize(("name", "compression"), [("a.jsonl", None), ("a.jsonl.gz", "gzip")])
def test_files_of_hugging_face_are_read_back(tmp_path, name, compression):
    dataset = datasets.Dataset.from_dict({"text": SCRIPTS, "label": list(range(len(SCRIPTS)))})
    dataset.to_json(tmp_path / name, compression=compression)
    results = read(tmp_path, (tmp_path / name).read_bytes(), name)
    assert texts_of(results) == SCRIPTS
    assert [result.attributes["label"] for result in results] == list(range(len(SCRIPTS)))


@given(rows=st.lists(st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3), min_size=1, max_size=5), text=ANY_TEXT)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives(tmp_path, rows, text):
    documents = [{**row, "text": text} for row in rows]
    for name in ("a.jsonl", "a.jsonl.zst"):
        results = read(tmp_path, compress(jsonl(*documents, ensure_ascii=False), name), name)
        assert texts_of(results) == [text] * len(rows)
        for result, document in zip(results, documents, strict=True):
            assert {**json.loads(result.parts["json"]), "text": text} == document


GOOD = jsonl({"text": "good", "id": "g"})


@pytest.mark.parametrize(
    ("line", "reason", "words"),
    [
        (b'{"text": "\xff\xfe"}\n', "invalid_utf8", "invalid UTF-8 at byte 10 of the line"),
        (b'{"text": \n', "invalid_json", "not JSON"),
        (b'{"text": "a"},\n', "invalid_json", "Extra data"),
        (b'["text"]\n', "invalid_json", "expected an object, got list"),
        (b"3\n", "invalid_json", "expected an object, got int"),
        (b'{"text": "\\ud83d"}\n', "invalid_json", "lone surrogate '\\ud83d'"),
        (b'{"text": "a", "other": "\\uDC00"}\n', "invalid_json", "lone surrogate"),
        (b'{"a":' * 100_000 + b"\n", "invalid_json", "nested 100,000 levels deep, more than 200"),
        (
            b'{"text": "a", "x": [' + b"{}," * 2**20 + b'{"y": "[[["}]}\n',
            "invalid_json",
            "1,048,579 lists and objects, more than 1,048,576",
        ),
        (b'{"a": ' + b"1" * 5000 + b"}\n", "invalid_json", "not JSON"),
        (b'{"body": "a", "n": 1}\n', "missing_field", "no field 'text' (source.text_field); there are body, n"),
        (b'{"text": null}\n', "missing_field", "'text' is NoneType, expected a text"),
        (b'{"text": ["a"]}\n', "missing_field", "'text' is list, expected a text"),
    ],
)  # fmt: skip
def test_a_bad_line_is_rejected_alone(tmp_path, line, reason, words):
    results = read(tmp_path, GOOD + line + GOOD)
    assert summary(results) == ["a:0", f"a:1: {reason}", "a:2"]
    assert isinstance(results[1], Rejection)
    assert (results[1].file, results[1].member) == ("a.jsonl", "line 1")
    assert words in results[1].detail


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"text": "a"}, "the id field 'id' is missing"),
        ({"text": "a", "id": None}, "is None"),
        ({"text": "a", "id": ""}, "is ''"),
        ({"text": "a", "id": True}, "is True"),
        ({"text": "a", "id": {"n": "x" * 100}}, "..., expected"),
    ],
)
def test_a_line_without_a_usable_id_is_rejected(tmp_path, document, words):
    results = read(tmp_path, GOOD + jsonl(document), id_field="id")
    assert summary(results) == ["g", "a:1: missing_field"]
    assert words in results[1].detail


@pytest.mark.parametrize("value", [1.5, 2.0**53, -(2.0**60)])
def test_a_float_that_is_no_exact_number_is_no_id(tmp_path, value):
    results = read(tmp_path, GOOD + jsonl({"text": "a", "id": value}), id_field="id")
    assert summary(results) == ["g", "a:1: invalid_id"]
    assert f"the id field 'id' is {value!r}, expected a text or a whole number" in results[1].detail


def test_whole_floats_are_the_numbers_that_they_stand_for(tmp_path):
    lines = [jsonl({"text": "a", "id": value}) for value in (1000001.0, 1000001, -0.0)]
    assert summary(read(tmp_path, b"".join(lines), id_field="id")) == [
        "1000001",
        "1000001: duplicate_id",
        "0",
    ]


@pytest.mark.parametrize("id_value", ["a\nb", "a\rb", "\n"])
def test_an_id_with_a_line_break_is_rejected_when_it_is_read(tmp_path, id_value):
    results = read(tmp_path, GOOD + jsonl({"text": "a", "id": id_value}), id_field="id")
    assert [type(result).__name__ for result in results] == ["RawSample", "Rejection"]
    assert results[1].reason == "invalid_id"
    assert "has a line break" in results[1].detail


def _from_deep_below(depth, function):
    return function() if depth == 0 else _from_deep_below(depth - 1, function)


def test_which_lines_are_nested_too_deeply_does_not_depend_on_the_caller(tmp_path):
    lines = [b'{"text": "a", "m": ' + b"[" * n + b'"[[["' + b"]" * n + b"}\n" for n in range(190, 210)]
    content = b"".join(lines)
    expected = ["invalid_json"] * 10
    for depth in (0, 400):
        results = _from_deep_below(depth, lambda: read(tmp_path, content))
        assert [result.reason for result in results if isinstance(result, Rejection)] == expected


def test_brackets_in_texts_are_no_levels(tmp_path):
    text = "[{" * 5000 + '\\" ]'
    (sample,) = read(tmp_path, jsonl({"text": text, "boxes": [[1, 2]] * 500}))
    assert sample.content.decode() == text


def test_a_repeated_id_is_rejected_naming_the_first(tmp_path):
    results = read(tmp_path, GOOD + jsonl({"text": "b", "id": 3}, {"text": "c", "id": "3"}), id_field="id")
    assert summary(results) == ["g", "3", "3: duplicate_id"]
    assert "first in line 1" in results[-1].detail


def test_a_missing_text_keeps_the_id(tmp_path):
    assert summary(read(tmp_path, jsonl({"id": "x"}), id_field="id")) == ["x: missing_field"]


def test_nan_and_infinity_stand_for_no_value(tmp_path):
    (sample,) = read(tmp_path, b'{"text": "a", "p": NaN, "q": [-Infinity, 1e999]}\n')
    assert sample.parts["json"] == b'{"p": null, "q": [null, null]}'


def test_a_byte_order_mark_is_left_out_and_windows_line_ends_are_fine(tmp_path):
    content = b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n") * 2
    assert texts_of(read(tmp_path, content)) == ["good", "good"]


def test_a_line_beyond_the_limit_is_rejected_without_being_held(tmp_path):
    long = 40 * 2**20
    (tmp_path / "a.jsonl").write_bytes(GOOD + b'{"text": "' + b"x" * long + b'"}\n' + GOOD)
    reader = JsonlReader(UPath(tmp_path), JsonlSource(path=".", format="jsonl", max_text_bytes=1000))
    tracemalloc.start()
    results = list(reader.read("a.jsonl"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert summary(results) == ["a:0", "a:1: text_too_large", "a:2"]
    assert f"{long + 13:,} bytes" in results[1].detail
    assert "max_text_bytes = 1,000" in results[1].detail
    assert peak < 6 * 2**20


@pytest.mark.parametrize(
    ("name", "content", "reason", "words"),
    [
        ("a.jsonl", b"", "empty_file", "no bytes"),
        ("a.jsonl", b"\n\n  \n", "empty_file", "no line with content"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "empty_file", "no line with content"),
        ("a.jsonl.gz", GOOD, "unreadable_file", "its name says gzip"),
        ("a.jsonl.zst", gzip.compress(GOOD, mtime=0), "unreadable_file", "its name says zstd"),
        ("a.jsonl.bz2", b"BZh91AY&SY", "unreadable_file", "compressed with bzip2"),
        ("a.jsonl", "\ufeff{}\n".encode("utf-16-le"), "unreadable_file", "UTF-16"),
    ],
)
def test_a_file_without_samples_is_rejected_whole(tmp_path, name, content, reason, words):
    (result,) = read(tmp_path, content, name)
    assert (result.sample_id, result.member, result.reason) == (name, None, reason)
    assert words in result.detail


def test_the_first_bytes_tell_the_compression_of_a_file_without_ending(tmp_path):
    for name in (".gz", ".zst"):
        assert texts_of(read(tmp_path, compress(GOOD * 2, name), "data.json")) == ["good", "good"]


def test_a_cut_last_line_is_told_from_bad_json(tmp_path):
    assert summary(read(tmp_path, GOOD + b'{"text": "go')) == ["a:0", "a:1: truncated_file"]
    assert summary(read(tmp_path, GOOD + b"<html>")) == ["a:0", "a:1: invalid_json"]
    assert summary(read(tmp_path, GOOD + GOOD[:-1])) == ["a:0", "a:1"]


MANY = jsonl(*({"text": f"{n} {'é' * (n % 50)}", "n": n} for n in range(2000)))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_of_a_cut_stream_every_whole_line_comes_out(tmp_path, name, share):
    content = compress(MANY, name)
    cut = min(int(len(content) * share), len(content) - 1)
    results = read(tmp_path, content[:cut], name)
    assert results[-1].reason == "truncated_file"
    assert results[-1].sample_id == name
    samples = texts_of(results[:-1])
    assert samples == [json.loads(line)["text"] for line in MANY.splitlines()[: len(samples)]]
    readable = io.BytesIO(content[:cut])
    decompressed = (
        gzip.GzipFile(fileobj=readable)
        if name.endswith(".gz")
        else pa.CompressedInputStream(pa.PythonFile(readable, mode="r"), "zstd")
    )
    assert len(samples) == count_lines_up_to_fault(decompressed)


def count_lines_up_to_fault(stream) -> int:
    n_lines = 0
    try:
        while piece := stream.read(1):
            n_lines += piece == b"\n"
    except (EOFError, OSError):
        return n_lines
    raise AssertionError("the stream is whole")


@given(
    position=st.integers(0, 10**6), value=st.integers(0, 255), name=st.sampled_from(["b.gz", "b.zst", "b"])
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_never_raise(tmp_path, position, value, name):
    content = bytearray(compress(MANY[:10_000], name))
    content[position % len(content)] = value
    assert read(tmp_path, bytes(content), name)


def test_streams_of_several_members_are_read_through(tmp_path):
    for name in ("a.jsonl.gz", "a.jsonl.zst"):
        content = compress(GOOD, name) + compress(GOOD, name)
        assert texts_of(read(tmp_path, content, name)) == ["good", "good"]


def test_a_file_is_closed_by_a_line_break(tmp_path):
    for name, content in [("a.jsonl", GOOD), ("b.jsonl", GOOD[:-1]), ("c.jsonl", b""), ("d.jsonl.gz", b"x")]:
        (tmp_path / name).write_bytes(content)
    reader = build_reader(JsonlSource(path=str(tmp_path), format="jsonl"), tmp_path)
    closed = {file.path: reader.is_closed(file) for file in reader.list_files()}
    assert closed == {"a.jsonl": True, "b.jsonl": False, "c.jsonl": False, "d.jsonl.gz": True}


def test_a_pool_may_lie_on_any_fsspec_file_system():
    root = UPath("memory://jsonl-pool")
    (root / "x").mkdir(parents=True, exist_ok=True)
    (root / "x" / "0.jsonl.zst").write_bytes(compress(GOOD, "0.zst"))
    reader = build_reader(JsonlSource(path="memory://jsonl-pool", format="jsonl"), Path("/elsewhere"))
    (file,) = reader.list_files()
    assert reader.is_closed(file)
    assert summary(reader.read(file.path)) == ["x/0:0"]
    with pytest.raises(ShardError, match="no such file"):
        list(reader.read("x/1.jsonl"))


def test_failing_storage_is_not_taken_for_a_damaged_file(monkeypatch, tmp_path):
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst"):
        (tmp_path / name).write_bytes(compress(MANY, name))
        reader = JsonlReader(UPath(tmp_path), JsonlSource(path=".", format="jsonl"))
        monkeypatch.setattr(reader._root.fs, "open", lambda path, mode: FailingFile(Path(path).read_bytes()))
        with pytest.raises(ShardError, match="connection reset"):
            list(reader.read(name))


class FailingFile(io.BytesIO):
    """A connection that breaks after the first bytes."""

    def read(self, size=-1):
        if self.tell() > 4:
            raise OSError("connection reset")
        return super().read(min(size, 8))


def test_memory_does_not_grow_with_the_file(tmp_path):
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst"):
        (tmp_path / name).write_bytes(compress(jsonl({"text": "x" * 1000}) * 5000, name))
        samples = JsonlReader(UPath(tmp_path), JsonlSource(path=".", format="jsonl")).read(name)
        next(samples)
        tracemalloc.start()
        assert sum(1 for _ in samples) == 4999
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2_000_000
