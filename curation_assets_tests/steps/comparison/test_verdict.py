"""Verdicts on tables that are given by hand, and on random subsets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation_assets.algorithms.balance import effective_number
from curation_assets.steps.comparison.measuring import Tally
from curation_assets.steps.comparison.verdict import Verdict, judge, verdict_lines
from curation_assets.storage.tables import Comparison

NO_LABELS = Comparison.labels.empty()


def lines(**subsets: Mapping[str, float | tuple[float, float]]) -> list[dict[str, Any]]:
    """Lines of a table; a measure without a spread has 1 % of its mean. Label measures are of the field `kind`."""
    names = {"flat": "flat k-means"}
    found = []
    for subset, measures in subsets.items():
        for measure, value in measures.items():
            mean, spread = value if isinstance(value, tuple) else (value, 0.01 * value)
            field = "kind" if "label" in measure else None
            found.append(
                {"subset": names.get(subset, subset), "field": field, "measure": measure, "mean": mean,
                 "spread": spread, "n_draws": 100 if subset == "random" else 5}
            )  # fmt: skip
    return found


def verdict(found: list[dict[str, Any]], labels: pl.DataFrame = NO_LABELS, **changes: Any) -> Verdict:
    return judge(found, labels, **{"level": 2, "evenness": 0.75, **changes})


def of_labels(random: float, flat: float, chosen: float, **more: float) -> list[dict[str, Any]]:
    levels = {name: {"effective_labels": value} for name, value in more.items()}
    return lines(
        random={"effective_labels": random},
        flat={"effective_labels": flat},
        **levels,
        chosen={"effective_labels": chosen},
    )


def test_a_gain_is_stated_against_the_best_baseline_with_its_noise() -> None:
    found = verdict(of_labels(50, 60, 66))
    assert (found.outcome, found.beats_baselines, found.remedy) == ("better", True, "")
    assert found.sentence == (
        "Balancing worked: 66.0 effective labels (kind), 10 ± 2 % more than flat k-means (60.0), the best baseline, "
        "and 32 ± 2 % more than a random subset (50.0)."
    )
    assert (found.gain, round(found.noise, 2)) == (pytest.approx(0.1), 0.02)


def test_a_set_as_good_as_flat_k_means_beats_nothing_but_loses_nothing() -> None:
    found = verdict(of_labels(50, 60, 60.1))
    assert (found.outcome, found.beats_baselines, found.remedy) == ("level", True, "")
    assert "as well as flat k-means (60.0)" in found.sentence


def test_no_clear_difference_is_no_help() -> None:
    found = verdict(of_labels(50, 50.1, 50.2))
    assert (found.outcome, found.beats_baselines) == ("same", False)
    assert found.sentence.startswith(
        "Balancing did not help: 50.2 effective labels (kind), no clear difference from"
    )


def test_flat_k_means_that_does_better_is_named_with_the_remedy() -> None:
    found = verdict(of_labels(50, 66, 60, level_1=66.0, level_2=60.0))
    assert (found.outcome, found.beats_baselines) == ("behind", False)
    assert found.sentence == (
        "Balancing helped less than flat k-means: 60.0 effective labels (kind), 9 ± 1 % fewer than flat k-means "
        "(66.0), though 20 ± 1 % more than a random subset (50.0)."
    )
    assert "set balance_from: level_1 for this target (66.0 in the same measure)" in found.remedy
    assert "evenness: 1, which is flat k-means" in found.remedy
    assert "lower evenness" not in found.remedy, "lower shares would be less even still"


def test_a_set_that_is_worse_than_random_says_so_and_what_to_change() -> None:
    found = verdict(of_labels(50, 45, 40))
    assert (found.outcome, found.beats_baselines) == ("worse", False)
    assert found.sentence.startswith(
        "Balancing made it worse: 40.0 effective labels (kind), 20 ± 1 % fewer than a random"
    )
    assert "lower evenness (now 0.75) to 0.5, or further" in found.remedy
    assert "balance_from" not in found.remedy, "no level is known to be better"
    proportional = verdict(of_labels(50, 45, 40), evenness=0.0)
    assert "lower evenness" not in proportional.remedy
    assert "random subset" in proportional.remedy


def test_a_set_like_a_random_one_that_flat_k_means_beats_did_not_help() -> None:
    found = verdict(of_labels(50, 60, 50))
    assert (found.outcome, found.beats_baselines) == ("worse", False)
    assert found.sentence == (
        "Balancing did not help: 50.0 effective labels (kind), 17 ± 1 % fewer than flat k-means (60.0), and no clear "
        "difference from a random subset."
    )
    both = verdict(of_labels(50, 60, 40)).sentence
    assert both.startswith(
        "Balancing made it worse: 40.0 effective labels (kind), 20 ± 1 % fewer than a random subset"
    )
    assert both.endswith("fewer than flat k-means (60.0).")


def test_a_target_that_is_the_whole_pool_is_compared_without_a_fault() -> None:
    nothing = {"effective_labels": (30.0, 0.0), "pool_distance": (0.0, 0.0), "label_coverage": (1.0, 0.0)}
    found = verdict(lines(random=nothing, flat=nothing, chosen=nothing))
    assert (found.outcome, found.costs, found.alarms, found.remedy) == ("same", [], [], "")


def test_more_labels_at_the_cost_of_coverage_is_no_win() -> None:
    found = verdict(
        lines(
            random={"effective_labels": 50, "label_coverage": (0.75, 0.01)},
            flat={"effective_labels": 52, "label_coverage": (0.7, 0.01)},
            chosen={"effective_labels": 60, "label_coverage": (0.67, 0.01)},
        )
    )
    assert (found.outcome, found.beats_baselines) == ("better", False)
    assert found.costs == [
        "It costs coverage: 67.0% of the labels (kind) occur, against 75.0% in a random subset."
    ]
    assert found.remedy


def test_less_coverage_than_flat_k_means_is_a_cost_but_no_loss() -> None:
    found = verdict(
        lines(
            random={"effective_labels": 50, "label_coverage": (0.75, 0.01)},
            flat={"effective_labels": 52, "label_coverage": (0.82, 0.01)},
            chosen={"effective_labels": 60, "label_coverage": (0.78, 0.01)},
        )
    )
    assert found.beats_baselines
    assert found.costs == [
        "It costs coverage: 78.0% of the labels (kind) occur, against 82.0% in flat k-means."
    ]


def test_an_alarm_sounds_below_95_percent_of_randoms_independent_clusters() -> None:
    def judged(chosen: float) -> Verdict:
        return verdict(
            lines(
                random={"effective_labels": 50, "effective_partition": 100},
                chosen={"effective_labels": 60, "effective_partition": chosen},
            )
        )

    assert judged(95).alarms == []
    [alarm] = judged(94).alarms
    assert "94.0 effective clusters of an independent partition, against 100" in alarm
    assert (judged(94).outcome, judged(94).beats_baselines) == ("better", False)


def test_a_larger_distance_to_the_pool_is_a_cost_but_no_loss() -> None:
    found = verdict(
        lines(
            random={"effective_labels": 50, "pool_distance": 0.3, "isolation": 0.2},
            chosen={"effective_labels": 60, "pool_distance": 0.36, "isolation": 0.9},
        )
    )
    assert found.beats_baselines
    [cost] = found.costs
    assert cost.startswith("Samples of the pool are 20 ± 1 % farther")


def test_without_labels_the_vendi_score_decides_and_flat_k_means_may_be_ahead() -> None:
    found = verdict(lines(random={"vendi": 80}, flat={"vendi": 120}, chosen={"vendi": 110}))
    assert (found.outcome, found.beats_baselines, found.remedy) == ("behind", True, "")
    assert "110 effective samples (Vendi score)" in found.sentence
    worse = verdict(lines(random={"vendi": 80}, chosen={"vendi": 70}))
    assert (worse.outcome, worse.beats_baselines) == ("worse", False)


def test_frequent_labels_without_a_sample_are_named() -> None:
    labels = pl.DataFrame(
        {"target": "t", "field": "kind", "label": ["flag", "rare", "cat", "hand"], "in_pool": [65, 5, 530, 400],
         "random": 1.0, "flat": 1.0, "chosen": [0, 0, 9, 0]}
    )  # fmt: skip
    found = verdict(of_labels(50, 60, 66), labels)
    assert found.unsampled == ["No sample has the kind hand (40.0% of the pool), flag (6.5% of the pool)."]


def test_the_remedy_comes_last() -> None:
    facts = verdict(of_labels(50, 45, 40)).to_facts()
    assert verdict_lines(facts) == [facts["sentence"], facts["remedy"]]


def test_a_random_subset_is_called_a_win_in_few_cases_only() -> None:
    rng = np.random.default_rng(1)
    pool = np.repeat(np.arange(60), np.maximum(1, (400 / np.arange(1, 61)).astype(int)))

    def tally(n_draws: int) -> Tally:
        drawn = Tally()
        for _ in range(n_draws):
            counts = np.bincount(rng.choice(pool, 150, replace=False), minlength=60)
            drawn.add("kind", "effective_labels", effective_number(counts))
            drawn.add("kind", "label_coverage", float((counts > 0).mean()))
        return drawn

    outcomes = []
    for _ in range(150):
        found = [
            *tally(100).lines(subset="random"), *tally(5).lines(subset="flat k-means"),
            *tally(5).lines(subset="chosen"),
        ]  # fmt: skip
        outcomes.append(verdict(found).outcome)
    assert outcomes.count("better") <= 0.05 * 150
    assert outcomes.count("same") > 0.8 * 150
