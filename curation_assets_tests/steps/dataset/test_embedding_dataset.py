"""Columns of metadata take the types that a release has in common."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curation_assets.steps.dataset.embedding_dataset import conformed

MOMENT = pa.timestamp("us", "tzutc()")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([9_000_000, None], pa.date32()), ["26611-03-02", None]),
        (pa.array([7, None], MOMENT), ["1970-01-01 00:00:00.000007Z", None]),
        (pa.array([[7], None], pa.list_(MOMENT)), ['["1970-01-01T00:00:00.000007+00:00"]', None]),
        (pa.array([{"a": 1}, None]), ['{"a": 1}', None]),
        (
            pa.array([[b"\xff"], [b"a"]], pa.list_(pa.binary())),
            ['["/w=="]', '["YQ=="]'],
        ),
        (pa.array([[9_000_000], [0]], pa.list_(pa.date32())), ["?", "[datetime.date(1970, 1, 1)]"]),
    ],
)
def test_any_column_can_become_text(column: pa.Array, expected: list[str | None]) -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.int64())])
    table = conformed(pa.table({"a": column}), schema)
    assert table.schema == schema
    assert table["a"].to_pylist() == expected
    assert table["b"].null_count == len(column)
