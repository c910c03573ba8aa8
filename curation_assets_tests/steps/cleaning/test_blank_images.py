"""Images of one colour: kept, counted, and duplicates only of equal bytes."""

from __future__ import annotations

from pathlib import Path

from curation_assets.steps.damage import blank_lines
from curation_assets_tests.steps.duplicate_pool import DuplicatePool, Sample, at, image_spec


def test_they_are_copies_only_of_equal_bytes(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec(keep="first"))
    pool.put(
        "a",
        [
            Sample(f"a{i}", content, at(0))
            for i, content in enumerate(["black", "black", "dark", "photo", "copy"])
        ],
        blank=[0, 1, 2],
    )
    assert pool.deduplicate() == {"a1": ("a0", "exact"), "a4": ("a3", "semantic")}
    assert pool.summary()["n_blank"] == 3


def test_they_take_no_part_when_shards_come_either(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec(keep="first"))
    pool.put("a", [Sample("a0", "black", at(0)), Sample("a1", "photo", at(90))], blank=[0])
    assert pool.deduplicate() == {}
    more = [Sample("b0", "dark", at(0)), Sample("b1", "black", at(0)), Sample("b2", "like black", at(1))]
    pool.put("b", [*more, Sample("b3", "copy", at(91))], blank=[0, 1])
    expected = {"b1": ("a0", "exact"), "b3": ("a1", "semantic")}
    assert pool.deduplicate() == expected
    # With four times the rows, what stays is located in new coarse clusters.
    pool.put("c", [Sample(f"c{i}", str(i), at(120 + 30 * (i % 4))) for i in range(40)])
    found = pool.deduplicate()
    assert {key: twin for key, twin in found.items() if key[0] != "c"} == expected
    assert pool.deduplicate(anew=True) == found


def test_a_pool_of_nothing_else_keeps_them_all(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec())
    pool.put("a", [Sample(f"a{i}", str(i), at(0)) for i in range(3)], blank=[0, 1, 2])
    assert pool.deduplicate() == {}
    pool.put("b", [Sample("b0", "x", at(0)), Sample("b1", "y", at(0))])
    assert len(pool.deduplicate()) == 1


def test_they_are_counted_with_examples(tmp_path: Path) -> None:
    pool = DuplicatePool(tmp_path, image_spec())
    pool.put("a", [Sample(f"a{i}", str(i), at(0)) for i in range(3)])
    assert list(blank_lines(pool.storage)) == []
    pool.put("b", [Sample(f"b{i}", str(i), at(0)) for i in range(5)], blank=[1, 4])
    assert list(blank_lines(pool.storage)) == [
        "blank_image: 2 of 8 images show one colour only (b1, b4): they are kept, and are copies only of equal bytes"
    ]
