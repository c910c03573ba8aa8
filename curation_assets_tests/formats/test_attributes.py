from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.formats.attributes import attributes_json, encode_attributes

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)


def test_attributes_are_strict_json_in_their_own_order():
    attributes = {"b": "ü", "a": [1, None], "n": {"x": True}}
    assert attributes_json(attributes) == '{"b":"ü","a":[1,null],"n":{"x":true}}'
    assert attributes_json({}) is None


def test_what_json_lacks_becomes_the_nearest_it_has():
    attributes = {
        "nan": [float("nan"), {"inf": float("-inf")}, (1.5,)],
        "bytes": b"\xff",
        "day": date(2024, 5, 1),
        "time": datetime(2024, 5, 1, 12, tzinfo=UTC),
        "money": Decimal("1.10"),
        "number": np.float32(0.5),
    }
    assert json.loads(attributes_json(attributes) or "") == {
        "nan": [None, {"inf": None}, [1.5]],
        "bytes": "/w==",
        "day": "2024-05-01",
        "time": "2024-05-01T12:00:00+00:00",
        "money": "1.10",
        "number": 0.5,
    }


def without_nan(value):
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    return [without_nan(inner) for inner in value] if isinstance(value, list) else value


@given(st.dictionaries(st.sampled_from("zyx"), VALUES))
def test_attributes_become_strict_json_with_sorted_keys(attributes):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    document = json.loads(encode_attributes(attributes), parse_constant=refuse)
    assert document == without_nan(attributes)
    assert list(document) == sorted(attributes)
