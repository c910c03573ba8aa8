"""Labels of rows as codes."""

from __future__ import annotations

import numpy as np
import pytest

from curation_assets.steps.comparison import labels
from curation_assets.steps.comparison.candidates import Candidates
from curation_assets.steps.comparison.labels import LabelField, read_label_fields
from curation_assets_tests.steps.drawn_pool import Pool


def test_labels_are_those_of_available_rows(drawn: Pool) -> None:
    whole = Candidates.read(drawn.spec, drawn.storage)
    [field] = read_label_fields(drawn.spec, drawn.storage, whole)
    # One row of c has an id that occurs in shard a, and b's odd images are rejected.
    assert (field.name, field.labels, field.in_pool.tolist()) == ("kind", ["a", "b", "c"], [20, 20, 9])
    assert (field.codes.dtype, field.n_rows) == (np.int8, 49)
    assert field.counts(whole.rows()).tolist() == [20, 20, 9]
    without_a = whole.without(np.flatnonzero(field.codes == 0))
    [fewer] = read_label_fields(drawn.spec, drawn.storage, without_a)
    assert (fewer.labels, fewer.in_pool.tolist()) == (["b", "c"], [20, 9])


def test_random_label_counts_are_those_of_draws_without_replacement() -> None:
    codes = np.repeat([0, 1, 2, -1], [50, 30, 10, 10])
    field = LabelField("kind", ["a", "b", "c"], codes, np.array([50, 30, 10]), 100)
    counts = np.array(list(field.random_counts(40, 2_000, np.random.default_rng(0))))
    assert counts.max(axis=0)[2] <= 10
    assert counts.mean(axis=0) == pytest.approx([20, 12, 4], rel=0.03)
    # Hypergeometric: n K (N - K) (N - n) / (N^2 (N - 1)).
    assert counts[:, 0].var() == pytest.approx(40 * 50 * 50 * 60 / (100**2 * 99), rel=0.15)
    [all_of_them] = field.random_counts(100, 1, np.random.default_rng(0))
    assert all_of_them.tolist() == [50, 30, 10]


def test_random_label_counts_of_huge_pools_are_drawn_with_replacement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(labels, "_HYPERGEOMETRIC_LIMIT", 100)
    field = LabelField("kind", ["a", "b"], np.empty(0), np.array([60, 20]), 100)
    counts = np.array(list(field.random_counts(50, 500, np.random.default_rng(0))))
    assert counts.mean(axis=0) == pytest.approx([30, 10], rel=0.05)
