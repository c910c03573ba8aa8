"""The yardstick: measures of subsets against an independent partition of the pool."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curation_assets.algorithms.measures import yardstick as module
from curation_assets.algorithms.measures.yardstick import DIVERSITY, Yardstick
from curation_assets.algorithms.rows import ArrayRows, read_chunks

N_GROUPS, SIZE = 4, 30


@pytest.fixture(scope="module")
def pool() -> np.ndarray:
    """Four tight groups of 30 rows at right angles."""
    rng = np.random.default_rng(0)
    rows = np.repeat(np.eye(N_GROUPS, 8), SIZE, axis=0) + 0.01 * rng.normal(size=(N_GROUPS * SIZE, 8))
    return np.asarray(rows, dtype=np.float32)


@pytest.fixture(scope="module")
def yardstick(pool: np.ndarray) -> Yardstick:
    return Yardstick.fit(pool, metric="cosine", seed=0, n_clusters=N_GROUPS, centring=False)


def test_a_subset_of_all_groups_is_diverse_and_near_the_pool(pool: np.ndarray, yardstick: Yardstick) -> None:
    even, one = yardstick.measure(pool[::10]), yardstick.measure(pool[:12])
    assert even.vendi == pytest.approx(N_GROUPS, rel=0.01)
    assert even.effective_partition == pytest.approx(N_GROUPS)
    assert one.vendi == pytest.approx(1, rel=0.02)
    assert one.effective_partition == pytest.approx(1)
    # Three of four groups are at right angles to all chosen rows: 1 - cos is about 1 for them and 0 for the fourth.
    assert one.pool_distance == pytest.approx(0.75, rel=0.05)
    assert even.pool_distance is not None
    assert even.pool_distance < 0.01


def test_an_outlier_is_isolated(pool: np.ndarray, yardstick: Yardstick) -> None:
    far = np.eye(8, dtype=np.float32)[[7]]
    assert yardstick.measure(far).isolation == pytest.approx(1, abs=0.05)
    assert yardstick.measure(pool[:1]).isolation == pytest.approx(0, abs=0.01)


def test_only_what_is_asked_for_is_measured(pool: np.ndarray, yardstick: Yardstick) -> None:
    every = yardstick.measure(pool[::7])
    half = yardstick.measure(pool[::7], DIVERSITY)
    assert (half.vendi, half.effective_partition) == (every.vendi, every.effective_partition)
    assert half.pool_distance is half.isolation is None
    isolated = yardstick.measure(pool[::7], ("isolation",))
    assert isolated.isolation == every.isolation
    assert isolated.pool_distance is isolated.vendi is None


def test_rows_of_the_sample_measure_the_same_among_other_rows(pool: np.ndarray, yardstick: Yardstick) -> None:
    inside, nearly = pool[::6], pool[::6] + np.float32(1e-6)
    known, searched = yardstick.measure(inside), yardstick.measure(nearly)
    assert known.pool_distance == pytest.approx(searched.pool_distance, abs=1e-5)
    assert known.isolation == pytest.approx(searched.isolation, abs=1e-5)


def test_an_empty_subset_has_no_distances(pool: np.ndarray, yardstick: Yardstick) -> None:
    measures = yardstick.measure(pool[:0])
    assert (measures.vendi, measures.effective_partition) == (0, 0)
    assert measures.pool_distance is measures.isolation is None


def test_wrong_input_is_named(pool: np.ndarray, yardstick: Yardstick) -> None:
    with pytest.raises(ValueError, match=r"subset has shape \(120, 3\).*\(m, 8\)"):
        yardstick.measure(pool[:, :3])
    with pytest.raises(ValueError, match="only names"):
        yardstick.measure(pool, ("beauty",))  # type: ignore[arg-type]


def test_measures_do_not_depend_on_the_order_or_the_length_of_rows(
    pool: np.ndarray, yardstick: Yardstick
) -> None:
    subset = pool[::5]
    shuffled = np.random.default_rng(1).permutation(subset)
    assert yardstick.measure(subset) == yardstick.measure(shuffled) == yardstick.measure(4 * shuffled)


def test_the_vendi_score_is_seen_from_the_mean_of_the_pool(pool: np.ndarray, yardstick: Yardstick) -> None:
    centred = Yardstick.fit(pool, metric="cosine", seed=0, n_clusters=N_GROUPS)
    # Four groups around their mean are the corners of a tetrahedron, which has three dimensions.
    assert centred.measure(pool[::10]).vendi == pytest.approx(3, rel=0.01)
    assert centred.measure(pool[:12]).vendi == pytest.approx(1, rel=0.02)
    away = np.concatenate([pool, np.full((len(pool), 1), 5, dtype=np.float32)], axis=1)
    seen = {
        c: Yardstick.fit(away, metric="cosine", seed=0, centring=c).measure(away[::10]).vendi
        for c in (False, True)
    }
    assert seen[True] == pytest.approx(3, rel=0.02)
    assert seen[False] == pytest.approx(1.2, abs=0.1)
    assert (yardstick.origin is None, centred.origin is None) == (True, False)


def test_l2_keeps_lengths() -> None:
    sample = np.repeat(np.arange(3.0), 20)[:, None].astype(np.float32)
    yardstick = Yardstick.fit(sample, metric="l2", seed=0)
    measures = yardstick.measure(np.array([[0.0], [2.0]], dtype=np.float32))
    assert measures.effective_partition == pytest.approx(2)
    assert measures.pool_distance == pytest.approx(1 / 3)
    assert measures.isolation == 0


def test_the_partition_is_small_for_a_small_pool(pool: np.ndarray) -> None:
    assert len(Yardstick.fit(pool, metric="cosine", seed=0).centroids) == len(pool) // 20
    assert len(Yardstick.fit(pool[:3], metric="cosine", seed=0).centroids) == 1


def test_large_inputs_are_sampled(pool: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 50)
    yardstick = Yardstick.fit(pool, metric="cosine", seed=3)
    assert len(yardstick.rows) == 50
    assert yardstick.measure(pool) == yardstick.measure(pool)


def test_the_same_seed_gives_the_same_yardstick_from_chunks_of_any_size(pool: np.ndarray) -> None:
    once = Yardstick.fit(pool, metric="cosine", seed=1)
    chunks = np.concatenate([block for _, block in read_chunks(ArrayRows(pool), 7 * 32)])
    assert np.array_equal(once.centroids, Yardstick.fit(chunks, metric="cosine", seed=1).centroids)
    assert not np.array_equal(once.centroids, Yardstick.fit(pool, metric="cosine", seed=2).centroids)


def test_measures_do_not_depend_on_threads() -> None:
    rng = np.random.default_rng(0)
    pool = rng.normal(size=(3000, 48)).astype(np.float32)
    subsets = (pool[::9], pool[::2], pool[::9] + np.float32(1e-3))
    before, seen = torch.get_num_threads(), []
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            yardstick = Yardstick.fit(pool, metric="cosine", seed=0)
            seen.append([yardstick.measure(subset) for subset in subsets])
    finally:
        torch.set_num_threads(before)
    assert seen[0] == seen[1]
