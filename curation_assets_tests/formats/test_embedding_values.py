"""One bad value in the table beside the embeddings rejects its row, or stops what would not be exact."""

from __future__ import annotations

import struct
from pathlib import Path

import pyarrow as pa
import pytest

from curation_assets.errors import ShardError
from curation_assets.formats.base import RawSample, Rejection, RejectionReason
from curation_assets_tests.formats.embedded import write_clip_retrieval
from curation_assets_tests.formats.test_embeddings import FIRST, reader_of


def bad_values() -> dict[str, pa.Array]:
    """Columns of three rows, whose second row cannot be read."""
    texts = pa.StringArray.from_buffers(
        3, pa.py_buffer(struct.pack("<4i", 0, 1, 2, 3)), pa.py_buffer(b"a\xffc")
    )
    return {"utf8": texts, "date": pa.array([0, 5_000_000, 1], pa.date32())}


def test_a_bad_value_in_a_column_nobody_asked_for_is_nobodys(tmp_path: Path) -> None:
    zone = pa.array([0, 1, 2], pa.timestamp("us", "tzutc()"))
    write_clip_retrieval(tmp_path, [3], **bad_values(), zone=zone)
    assert len(list(reader_of(tmp_path).read(FIRST))) == 3
    samples = list(reader_of(tmp_path, id_field="image_path", label_fields=("zone",)).read(FIRST))
    assert [sample.sample_id for sample in samples] == ["000000000", "000000001", "000000002"]
    assert str(samples[1].attributes["zone"]) == "1970-01-01 00:00:00.000001+00:00"


@pytest.mark.parametrize(
    ("column", "reason", "words"),
    [
        ("utf8", RejectionReason.INVALID_UTF8, "invalid UTF-8 at byte 0 of a text: invalid start byte"),
        ("date", RejectionReason.INVALID_JSON, "a value cannot be read: OverflowError"),
    ],
)
def test_a_bad_value_rejects_its_row_alone(tmp_path: Path, column: str, reason: str, words: str) -> None:
    write_clip_retrieval(tmp_path, [3], **bad_values())
    for changes in ({"label_fields": (column,)}, {"text_field": column}):
        good, bad, last = reader_of(tmp_path, **changes).read(FIRST)
        assert isinstance(good, RawSample)
        assert isinstance(last, RawSample)
        assert isinstance(bad, Rejection)
        assert (bad.reason, bad.member) == (reason, "row 1")
        assert bad.detail.startswith(words)
        assert bad.detail.endswith(f"(column '{column}')")


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (pa.array([1.0, 2.0**53]), r"type double.* in row 1 9007199254740992\.0 is no exact whole number"),
        (pa.array([1.0, 1.5]), r"in row 1 1\.5 is no exact"),
        (pa.array([1.0, float("inf")]), r"in row 1 inf is no exact"),
        (
            pa.array([1.0, 2.0**24], pa.float32()),
            r"type float.*exact below 16,777,216\): write ids as text or int64",
        ),
    ],
)
def test_floats_that_are_no_exact_numbers_are_no_ids(tmp_path: Path, numbers: pa.Array, words: str) -> None:
    write_clip_retrieval(tmp_path, [2], number=numbers)
    with pytest.raises(
        ShardError, match=rf"metadata/metadata_0\.parquet: source\.id_field is 'number'.*{words}"
    ):
        list(reader_of(tmp_path, id_field="number").read(FIRST))
