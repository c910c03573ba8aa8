"""Which groups of duplicates the report shows, and in what order."""

from __future__ import annotations

import polars as pl

from curation_assets.steps.report.cleaning import group_spans


def test_groups_next_to_the_threshold_come_first_and_equal_content_last() -> None:
    evidence = pl.DataFrame(
        [
            ("s", "far", "semantic", 0.999),
            ("s", "near", "semantic", 0.95),
            ("s", "near", "semantic", 0.97),
            # The similarity of a copy by content says nothing about the threshold.
            ("s", "near", "exact", None),
            ("s", "same small", "exact", None),
            *[("s", "same large", "exact", 1.0)] * 3,
            ("r", "near too", "semantic", 0.95),
        ],
        schema=["twin_set", "twin_id", "kind", "similarity"],
        orient="row",
    )
    assert group_spans(evidence).rows() == [
        ("s", "near", 3, 0.95, 0.97),
        ("r", "near too", 1, 0.95, 0.95),
        ("s", "far", 1, 0.999, 0.999),
        ("s", "same large", 3, None, None),
        ("s", "same small", 1, None, None),
    ]
    assert group_spans(evidence.clear()).is_empty()
