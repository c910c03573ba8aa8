from __future__ import annotations

import pytest

from curation_assets.formats.rows import numbered_id


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
