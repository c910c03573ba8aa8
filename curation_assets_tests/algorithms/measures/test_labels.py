"""Measures of labels, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from curation_assets.algorithms.measures.labels import (
    effective_labels,
    label_counts,
    label_coverage,
    uncovered_labels,
)


def test_samples_without_a_label_do_not_count() -> None:
    codes = np.array([0, 0, 2, -1, -1])
    assert label_counts(codes, 4).tolist() == [2, 0, 1, 0]
    assert label_coverage(codes, 4) == 0.5


def test_effective_labels() -> None:
    assert effective_labels(np.array([0, 1, 2, 2, 1, 0]), 5) == pytest.approx(3)
    assert effective_labels(np.array([0, 0, 1, 2]), 3) == pytest.approx(2**1.5)
    assert effective_labels(np.array([-1]), 3) == 0
    assert effective_labels(np.array([], dtype=np.int64), 3) == 0


def test_a_pool_without_labels_is_not_covered() -> None:
    assert label_coverage(np.array([], dtype=np.int64), 0) == 0


def test_a_code_beyond_the_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="codes holds 3, but n_labels is 3"):
        label_counts(np.array([3]), 3)


def test_uncovered_labels_are_named_by_weight() -> None:
    pool = np.array([50, 1, 30, 0, 119, 30])
    subset = np.array([0, 0, 0, 0, 5, 0])
    assert uncovered_labels(pool, subset).tolist() == [0, 2, 5]
    assert uncovered_labels(pool, subset, least_share=0).tolist() == [0, 2, 5, 1]
    assert uncovered_labels(pool, subset + 1).tolist() == []
