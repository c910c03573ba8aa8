from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.formats.rows import encode_attributes, numbered_id

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("a.parquet", "a:3"),
        ("x/a.jsonl.zst", "x/a:3"),
        ("a.b.json.gz", "a.b:3"),
        ("a.txt", "a.txt:3"),
        (".gz", ".gz:3"),
    ],
)
def test_only_known_endings_are_left_out_of_an_id(file, expected):
    assert numbered_id(file, 3) == expected


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
