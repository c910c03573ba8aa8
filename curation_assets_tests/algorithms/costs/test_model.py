"""The cost of every stage of a plan: small pools worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.algorithms import LevelSpec
from curation_assets.algorithms.costs.device_memory import device_fit
from curation_assets.algorithms.costs.kmeans_cost import lloyd_cost, seeding_cost
from curation_assets.algorithms.costs.model import StageCost, Workload, level_memory, plan_cost

D = 100
TWO_LEVELS = [LevelSpec(n_clusters=1000, resampling_steps=3), LevelSpec(n_clusters=100, resampling_steps=2)]
SPLIT = [LevelSpec(n_clusters=1000, n_coarse_clusters=10), LevelSpec(n_clusters=100, resampling_steps=0)]


def stages(workload: Workload, **options: bool) -> dict[tuple[int, str], StageCost]:
    return {(stage.level, stage.stage): stage for stage in plan_cost(workload, **options).stages}


def pool(**changes: object) -> Workload:
    return replace(Workload(n_rows=100_000, dimension=D, levels=TWO_LEVELS), **changes)  # type: ignore[arg-type]


def test_a_level_is_fitted_refitted_and_assigned() -> None:
    found = stages(pool(), at_most=True)
    assert list(found) == [
        (level, stage)
        for level in (1, 2)
        for stage in ("seeds", "Lloyd", "resampled fits", "re-assign", "assign")
    ]
    assert found[1, "seeds"].distances == seeding_cost(100_000, 1000, D).distances
    assert found[1, "Lloyd"].distances == 50 * 100_000 * 1000
    # Half of the mean cluster of 100 rows is kept.
    fit = seeding_cost(50_000, 1000, D) + lloyd_cost(50_000, 1000, 50, at_most=True)
    assert found[1, "resampled fits"].distances == 3 * fit.distances
    # The third step is followed by the assignment of the pool.
    assert found[1, "re-assign"].distances == 2 * 50_000 * 1000
    assert found[1, "assign"].distances == 100_000 * 1000
    # Above, inputs are re-assigned after every step, and the pool's rows follow their clusters.
    assert found[2, "re-assign"].distances == 2 * 500 * 100
    assert found[2, "assign"].distances == 100_000


def test_a_sample_is_fitted_and_all_rows_assigned() -> None:
    found = stages(pool(fit_rows=20_000), at_most=True)
    assert found[1, "Lloyd"].distances == 50 * 20_000 * 1000
    assert found[1, "assign"].distances == 100_000 * 1000


def test_a_split_level_is_fitted_coarsely_then_inside() -> None:
    found = stages(pool(levels=SPLIT), at_most=True)
    assert found[1, "Lloyd"].distances == 50 * 100_000 * 10
    assert (found[1, "splits"].n_fits, found[1, "splits"].n_rows) == (10, 10_000)
    inside = seeding_cost(10_000, 100, D) + lloyd_cost(10_000, 100, 50, at_most=True)
    assert found[1, "splits"].distances == 10 * inside.distances
    assert found[1, "assign"].distances == 100_000 * (10 + 100)
    # The rows, as float16, are copied once and read once more.
    row_bytes = 2 * D * 100_000
    assert (found[1, "runs"].read_bytes, found[1, "runs"].written_bytes) == (row_bytes, row_bytes)
    assert found[1, "splits"].read_bytes == row_bytes


def test_rows_are_held_if_they_fit_the_budget() -> None:
    spec = LevelSpec(n_clusters=5000, resampling_steps=1)
    workload = Workload(n_rows=5 * 10**6, dimension=384, levels=[spec], memory_budget=15 * 10**9)
    large, small = level_memory(workload, 1), level_memory(replace(workload, memory_budget=2 * 10**9), 1)
    # 7.68 GB of rows, and half of them again as the resampled subset.
    assert (large.rows_resident, large.rows_bytes) == (True, (4 + 2) * 384 * 5 * 10**6)
    assert (small.rows_resident, small.rows_bytes) == (False, 0)
    assert small.total_bytes <= 2 * 10**9
    assert level_memory(replace(workload, memory_budget=2 * 10**9, fit_rows=100_000), 1).rows_resident


def test_rows_that_are_not_held_are_read_in_every_pass() -> None:
    budget = 950 * 10**6
    held, streamed = (stages(pool(n_rows=10**6, memory_budget=b), at_most=True) for b in (4 * 10**9, budget))
    row_bytes = 2 * D * 10**6
    assert (held[1, "seeds"].read_bytes, held[1, "Lloyd"].read_bytes) == (2 * row_bytes, 0)
    # 50 iterations, the first sums and the distances at the end.
    assert streamed[1, "Lloyd"].read_bytes == 52 * row_bytes
    assert streamed[1, "re-assign"].read_bytes == 2 * row_bytes
    assert streamed[1, "assign"].read_bytes == held[1, "assign"].read_bytes == row_bytes


def test_rows_stay_on_a_card_that_has_room_and_take_no_memory_of_the_host() -> None:
    spec = LevelSpec(n_clusters=5000, resampling_steps=1)
    workload = Workload(n_rows=5 * 10**6, dimension=384, levels=[spec], device_memory=20 * 10**9)
    memory = level_memory(workload, 1)
    expected = device_fit(20 * 10**9, 5 * 10**6, 384, 5000)
    assert memory.card == expected
    assert expected.is_resident
    assert (memory.rows_resident, memory.subset_resident, memory.rows_bytes) == (True, True, 0)
    assert memory.fixed_bytes == level_memory(replace(workload, device_memory=None), 1).fixed_bytes
    held = stages(workload, at_most=True)
    assert held[1, "Lloyd"].read_bytes == 0
    # A mean that is taken away keeps a second copy of every row.
    centred = level_memory(replace(workload, is_centred=True), 1).card
    assert centred is not None
    assert centred.rows_bytes > 1.9 * expected.rows_bytes
    # Each of four cards holds a quarter of the rows.
    shared = level_memory(replace(workload, workers=4), 1).card
    assert shared is not None
    assert shared.rows_bytes == expected.rows_bytes // 4


def test_rows_beyond_a_card_are_read_in_every_pass_even_if_the_host_had_room() -> None:
    spec = LevelSpec(n_clusters=5000, resampling_steps=1)
    workload = Workload(
        n_rows=5 * 10**6, dimension=384, levels=[spec], device_memory=4 * 10**9, memory_budget=100 * 10**9
    )
    memory = level_memory(workload, 1)
    assert memory.card is not None
    assert memory.card.fits
    assert (memory.rows_resident, memory.rows_bytes) == (False, 0)
    assert stages(workload, at_most=True)[1, "Lloyd"].read_bytes == 52 * 2 * 384 * 5 * 10**6


def test_workers_send_sums_and_get_centroids_in_every_iteration() -> None:
    assert plan_cost(pool()).network_bytes == 0
    found = stages(pool(workers=4, levels=SPLIT), at_most=True)
    assert found[1, "seeds"].network_bytes == 4 * 4 * 10 * D
    assert found[1, "Lloyd"].network_bytes == 4 * 50 * (8 + 4) * 10 * D
    # Three quarters of the rows end up with another worker.
    assert found[1, "runs"].network_bytes == 2 * D * 100_000 * 3 // 4
    assert found[1, "assign"].network_bytes == 4 * 4 * (1000 + 10) * D


def test_each_worker_holds_its_part() -> None:
    memory = level_memory(pool(workers=4), 1)
    assert memory.rows_bytes == 4 * D * (25_000 + 12_500)
    assert memory.fixed_bytes < level_memory(pool(), 1).fixed_bytes


def test_disk_is_counted_by_what_lies_there() -> None:
    disk = plan_cost(pool()).disk
    assert disk.embeddings == 2 * D * 100_000
    # The initial and the final centroids of each level.
    assert disk.centroids == 2 * 4 * D * (1000 + 100)
    of_rows, of_inputs = 12 * 100_000 * 2, 12 * (100_000 + 2 * 1000)
    assert disk.assignments == of_rows + of_inputs + 24 * (1000 * 50 + 100 * 5)
    assert disk.split_files == 0
    split = plan_cost(pool(levels=SPLIT)).disk
    # Rows, their coarse clusters, the sub-centroids, and an index of 11 numbers for the one run.
    assert split.split_files == 100_000 * (2 * D + 4) + 4 * D * 1000 + 8 * 11
    assert split.total == split.embeddings + split.assignments + split.centroids + split.split_files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_rows": 0}, "n_rows is 0"),
        ({"workers": 0}, "workers is 0, but must be at least 1"),
        ({"levels": []}, "levels is 0"),
        ({"n_rows": 999}, "level 1: n_clusters is 1,000, but the level has only 999 inputs"),
        ({"fit_rows": 500}, "the level has only 500 inputs"),
    ],
)
def test_what_cannot_be_planned_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pool(**changes)


@given(st.integers(10_000, 10**9), st.integers(8, 2048), st.booleans(), st.booleans())
def test_a_larger_pool_costs_more(n_rows: int, dimension: int, is_split: bool, at_most: bool) -> None:
    # With one way of choosing seeds: see the next test.
    levels = [replace(spec, n_local_trials=1) for spec in (SPLIT if is_split else TWO_LEVELS)]
    workload = pool(n_rows=n_rows, dimension=dimension, levels=levels)
    few, many = (plan_cost(w, at_most=at_most) for w in (workload, replace(workload, n_rows=2 * n_rows)))
    assert few.distances < many.distances
    assert few.disk.total < many.disk.total
    assert plan_cost(workload).distances <= plan_cost(workload, at_most=True).distances


def test_a_pool_too_large_for_greedy_seeds_may_cost_less_than_half_of_it() -> None:
    # 12,001 x 1,000 x 8 lies below `GREEDY_LIMIT`, where each seed is the best of eight candidates.
    workload = pool(n_rows=12_001, dimension=8, levels=TWO_LEVELS)
    assert plan_cost(workload).distances > plan_cost(replace(workload, n_rows=24_002)).distances


@given(st.integers(1, 1000), st.integers(10**9, 10**12))
def test_more_workers_need_less_memory_each(workers: int, budget: int) -> None:
    workload = pool(n_rows=10**8, workers=workers, memory_budget=budget)
    many = replace(workload, workers=2 * workers)
    assert level_memory(many, 1).fixed_bytes <= level_memory(workload, 1).fixed_bytes
    assert plan_cost(many).distances == plan_cost(workload).distances
    assert plan_cost(many).network_bytes > plan_cost(workload).network_bytes


def test_a_split_costs_a_fraction_of_a_flat_level() -> None:
    flat = pool(n_rows=10**6, levels=[LevelSpec(n_clusters=10_000, resampling_steps=0)])
    split = replace(flat, levels=[LevelSpec(n_clusters=10_000, n_coarse_clusters=100)])
    assert plan_cost(split).distances < plan_cost(flat).distances / 10
