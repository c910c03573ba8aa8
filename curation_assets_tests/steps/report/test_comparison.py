"""What the report reads of comparison, frontier and probe."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl
import pytest

from curation_assets.report.comparison import Figure, Key
from curation_assets.steps.report.comparison import (
    read_comparisons,
    read_frontier,
    read_probes,
    read_start_levels,
)
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Frontier, Probe, Selection
from curation_assets_tests.steps.comparison.stored import WON, store_comparison
from curation_assets_tests.steps.making import RECIPE


@pytest.fixture
def storage(tmp_path: Path) -> PoolStorage:
    return PoolStorage(str(tmp_path), "pool")


def test_nothing_is_read_of_assets_that_are_absent(storage: PoolStorage) -> None:
    assert read_comparisons(storage) == read_start_levels(storage) == {}
    assert read_frontier(storage) == read_probes(storage) == []


def test_subsets_keep_their_order_and_the_verdict_its_sentences(storage: PoolStorage) -> None:
    store_comparison(storage, small=WON, large=WON | {"costs": ["It costs."]})
    found = read_comparisons(storage)
    assert set(found) == {"small", "large"}
    random, chosen = found["small"].subsets
    assert (random.name, random.level, chosen.name, chosen.level) == ("random", None, "chosen", 2)
    assert random.figures == {
        Key("kind", "effective_labels"): Figure(20.0, 1.5),
        Key(None, "vendi"): Figure(30.0, None),
    }
    assert found["small"].headline == Key("kind", "effective_labels")
    assert dataclasses.replace(found["large"], subsets=[]).headline == Key(None, "vendi")
    assert (found["large"].verdict.costs, found["large"].verdict.gain) == (["It costs."], 0.25)


def test_start_levels_are_read_by_target(storage: PoolStorage) -> None:
    rows = [
        ("small", 1, 30.0, 40.0, 7.09, 0.01, False, True),
        ("small", 2, 20.0, 30.0, 6.4, 0.02, True, False),
    ]
    with storage.output("selection").writing(RECIPE) as writer:
        table = pl.DataFrame(rows, schema=Selection.start_levels.schema, orient="row")
        Selection.start_levels.write(writer, table)
    [first, second] = read_start_levels(storage)["small"]
    assert (first.level, first.score, first.collapsed) == (1, 7.09, False)
    assert second.collapsed


def test_a_frontier_has_a_line_for_each_measure_and_subset(storage: PoolStorage) -> None:
    rows = [
        (size, size / 1_000, subset, None, field, "vendi" if field is None else "effective_labels", 1.0 * size, 0.5, 3)
        for field in (None, "kind")
        for subset in ("random", "paper", "chosen")
        for size in (200, 100)
    ]  # fmt: skip
    with storage.output("frontier").writing(RECIPE) as writer:
        Frontier.measures.write(writer, pl.DataFrame(rows, schema=Frontier.measures.schema, orient="row"))
    lines = read_frontier(storage)
    assert len(lines) == 6
    assert {line.subset for line in lines} == {"random", "paper", "chosen"}
    assert all(line.sizes == [100, 200] for line in lines)
    assert lines[0].key == Key(None, "vendi")
    assert lines[0].figures[1] == Figure(200.0, 0.5)


def test_a_probe_marks_the_chosen_level_and_names_what_it_loses(storage: PoolStorage) -> None:
    accuracy = [
        ("small", subset, level, "kind", probe, mean, 0.01, 3)
        for subset, level, mean in (("random", None, 0.5), ("level_1", 1, 0.6), ("level_2", 2, 0.7))
        for probe in ("nearest_neighbour", "linear")
    ]
    labels = [
        ("small", subset, label, "nearest_neighbour", value, 10)
        for subset, values in {
            "random": (0.9, 0.5, 0.4),
            "level_1": (1, 1, 1),
            "level_2": (0.4, 0.6, 0.3),
        }.items()
        for label, value in zip(("a", "b", "c"), values, strict=True)
    ]
    with storage.output("selection").writing(RECIPE) as writer:
        writer.summary["balance_from"] = {"small": 2}
    with storage.output("probe").writing(RECIPE) as writer:
        Probe.accuracy.write(writer, pl.DataFrame(accuracy, schema=Probe.accuracy.schema, orient="row"))
        Probe.labels.write(
            writer, pl.DataFrame(labels, schema=Probe.labels.schema, orient="row", strict=False)
        )
    [probe] = read_probes(storage)
    assert (probe.target, probe.names) == ("small", ["nearest_neighbour", "linear"])
    assert [(row.subset, row.is_chosen) for row in probe.rows] == [
        ("random", False),
        ("level_1", False),
        ("level_2", True),
    ]
    assert probe.rows[2].figures == [Figure(0.7, 0.01), Figure(0.7, 0.01)]
    assert [(loss.label, loss.random, loss.chosen) for loss in probe.losses] == [
        ("a", 0.9, 0.4),
        ("c", 0.4, 0.3),
    ]
    assert (probe.n_losses, probe.n_labels) == (2, 3)
