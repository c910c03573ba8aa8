"""Values that Python cannot hold become texts or reject their row."""

from __future__ import annotations

import pyarrow as pa

from curation_assets.formats.arrow.rows import in_known_zones, readable_texts


def test_texts_for_people_hold_any_value() -> None:
    broken = pa.array([b"a", b"\xff", None]).view(pa.string())
    assert readable_texts(broken) == ["a", "\\xff", None]
    assert readable_texts(broken.dictionary_encode()) == ["a", "\\xff", None]
    assert readable_texts(pa.array([1, None])) == ["1", None]
    assert readable_texts(pa.array([9_000_000, 0], pa.date32())) == ["?", "1970-01-01"]
    assert readable_texts(pa.nulls(1)) == [None]


def test_nested_times_of_unknown_zones_are_those_of_utc_and_other_types_stay() -> None:
    moment = pa.timestamp("ns", "tzutc()")
    kinds = [
        pa.struct([("at", moment), ("text", pa.string())]), pa.list_(moment), pa.large_list(moment),
        pa.list_(moment, 1), pa.map_(pa.string(), moment), pa.dictionary(pa.int32(), moment),
    ]  # fmt: skip
    for kind in kinds:
        (column,) = in_known_zones(pa.record_batch([pa.nulls(1, kind)], names=["a"])).schema
        assert str(column.type) == str(kind).replace("timestamp[ns, tz=tzutc()]", "timestamp[us, tz=UTC]")
    known = pa.record_batch([pa.nulls(1, pa.timestamp("ns", "UTC"))], names=["a"])
    assert in_known_zones(known).schema == known.schema
