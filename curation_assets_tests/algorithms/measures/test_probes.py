"""Probes, on points whose labels are plain to see."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms.measures.probes import (
    balanced_accuracy,
    class_balanced_held_out,
    linear_probe,
    nearest_neighbour_probe,
)

Probe = Callable[..., np.ndarray]
PROBES = pytest.mark.parametrize("probe", [nearest_neighbour_probe, linear_probe])
EYE = np.eye(4, dtype=np.float32)


@PROBES
def test_labels_that_are_apart_are_told(probe: Probe) -> None:
    codes = np.repeat(np.arange(4), 5)
    assert probe(EYE[codes], codes, EYE, np.arange(4)).tolist() == [1, 1, 1, 1]


@PROBES
def test_a_label_that_is_not_in_the_subset_is_lost(probe: Probe) -> None:
    codes = np.repeat(np.arange(3), 5)
    by_label = probe(EYE[codes], codes, EYE[[0, 1, 2, 3, 3]], np.array([0, 1, 2, 3, 3]))
    assert by_label.tolist() == [1, 1, 1, 0]
    assert balanced_accuracy(by_label) == 0.75


@PROBES
def test_labels_without_test_rows_are_left_out_of_the_mean(probe: Probe) -> None:
    codes = np.repeat(np.arange(4), 2)
    by_label = probe(EYE[codes], codes, EYE[[1, 1]], np.array([1, 2]), n_labels=6)
    assert np.array_equal(by_label, [np.nan, 1, 0, np.nan, np.nan, np.nan], equal_nan=True)
    assert balanced_accuracy(by_label) == 0.5
    assert balanced_accuracy(np.full(3, np.nan)) == 0


@PROBES
def test_rows_without_a_label_neither_teach_nor_test(probe: Probe) -> None:
    train, train_codes = EYE[[0, 0, 1, 1, 1]], np.array([0, 0, 1, 1, -1])
    by_label = probe(train, train_codes, EYE[[0, 1, 3]], np.array([0, 1, -1]))
    assert by_label.tolist() == [1, 1]


@PROBES
def test_little_to_learn_from(probe: Probe) -> None:
    assert probe(EYE[:0], np.zeros(0, dtype=int), EYE[:2], np.array([0, 1])).tolist() == [0, 0]
    assert probe(EYE[:2], np.array([1, 1]), EYE[:2], np.array([0, 1])).tolist() == [0, 1]
    assert np.isnan(probe(EYE[:2], np.array([0, 1]), EYE[:0], np.zeros(0, dtype=int))).all()


@PROBES
def test_a_missing_code_is_named(probe: Probe) -> None:
    with pytest.raises(ValueError, match="train has 4 rows, but 3 codes"):
        probe(EYE, np.arange(3), EYE, np.arange(4))


def test_the_first_of_equally_near_rows_counts() -> None:
    assert nearest_neighbour_probe(EYE[[0, 0]], np.array([1, 0]), EYE[:1], np.array([1])).tolist()[1] == 1


def test_the_linear_probe_does_not_depend_on_the_unit_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    rows, codes = rng.normal(size=(80, 6)), rng.integers(0, 3, 80)
    rows[np.arange(80), codes] += 1.5
    near, far = (linear_probe(c * rows[:40], codes[:40], c * rows[40:], codes[40:]) for c in (1, 1000))
    assert near.tolist() == far.tolist()
    assert balanced_accuracy(near) > 0.5


def test_the_linear_probe_weighs_labels_alike() -> None:
    rng = np.random.default_rng(0)
    codes, tested = np.repeat([0, 1], [400, 20]), np.repeat([0, 1], 500)
    train, test = (rng.normal(size=(len(c), 2)) + 1.5 * np.eye(2)[c] for c in (codes, tested))
    # By their numbers nearly all rows would be told as label 0.
    assert linear_probe(train, codes, test, tested).min() > 0.7


def test_held_out_rows_are_as_many_of_each_label_and_leave_half() -> None:
    codes = np.array([0] * 10 + [1] * 5 + [2] * 1 + [-1] * 4)
    held_out = class_balanced_held_out(codes, n_per_label=3, seed=0)
    assert np.bincount(codes[held_out], minlength=3).tolist() == [3, 2, 0]
    assert held_out.tolist() == sorted(held_out)
    every = class_balanced_held_out(codes, n_per_label=99, seed=0, max_share=1)
    assert every.tolist() == np.flatnonzero(codes >= 0).tolist()
    assert class_balanced_held_out(np.array([-1]), n_per_label=1, seed=0).tolist() == []


@given(st.lists(st.integers(-1, 4), max_size=60), st.integers(1, 8), st.integers(0, 50))
def test_the_order_of_rows_does_not_decide_what_is_held_out(labels: list[int], n: int, seed: int) -> None:
    codes, keys = np.array(labels, dtype=np.int64), np.arange(len(labels)) * 7919
    order = np.random.default_rng(seed).permutation(len(labels))
    straight = class_balanced_held_out(codes, n_per_label=n, seed=seed, keys=keys)
    mixed = class_balanced_held_out(codes[order], n_per_label=n, seed=seed, keys=keys[order])
    assert sorted(keys[straight]) == sorted(keys[order][mixed])


@pytest.mark.parametrize("wrong", [{"n_per_label": 0}, {"n_per_label": 1, "max_share": 1.5}])
def test_wrong_numbers_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{list(wrong)[-1]} is"):
        class_balanced_held_out(np.array([0]), seed=0, **wrong)  # type: ignore[arg-type]


def test_scikit_learn_is_loaded_by_the_linear_probe_alone() -> None:
    command = [
        sys.executable,
        "-c",
        "import curation_assets.algorithms.measures.probes, sys; print('sklearn' in sys.modules)",
    ]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
