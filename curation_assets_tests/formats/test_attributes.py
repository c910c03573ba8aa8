from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np

from curation_assets.formats.attributes import attributes_json


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
