"""Steps: what depends on what."""

from __future__ import annotations

from typing import Any

from curation_assets.graph.base import ExtraInput, Step
from curation_assets.graph.relations import ancestors, descendants, rows_step
from curation_assets.graph.steps import pool_steps
from curation_assets_tests.projects import spec_of


def test_a_level_without_resampling_has_clusters_and_assignments_only() -> None:
    steps = pool_steps(spec_of())
    assert [name for name in steps if name.startswith("level_3")] == ["level_3_clusters", "level_3_assign"]
    split = spec_of(levels=[{"n_clusters": 20, "n_coarse_clusters": 5}])
    assert [name for name in pool_steps(split) if name.startswith("level")] == [
        "level_1_clusters",
        "level_1_assign",
    ]


CLEANED: dict[str, Any] = {
    "deduplication": {},
    "decontamination": {"evaluation_sets": [{"name": "test", "source": {"path": "data/test"}}]},
}


def test_a_cleaned_pool_is_fitted_on_its_admitted_rows() -> None:
    plain, cleaned = pool_steps(spec_of()), pool_steps(spec_of(**CLEANED))
    assert list(cleaned)[:6] == [
        "raw_pool", "embeddings", "evaluation_sets", "contaminated", "duplicates", "admitted",
    ]  # fmt: skip
    assert set(cleaned) - set(plain) == {"evaluation_sets", "contaminated", "duplicates", "admitted"}
    assert (rows_step(plain), rows_step(cleaned)) == ("embeddings", "admitted")
    assert cleaned["level_1_initial"].inputs == ("admitted",)
    assert cleaned["duplicates"].inputs == ("raw_pool", "embeddings", "contaminated")
    for name in ("selection", "ledger", "curation_report"):
        assert "admitted" in cleaned[name].inputs
    only_duplicates = pool_steps(spec_of(deduplication={}))
    assert only_duplicates["admitted"].inputs == ("embeddings", "duplicates")
    only_sets = pool_steps(spec_of(decontamination=CLEANED["decontamination"]))
    assert only_sets["admitted"].inputs == ("embeddings", "contaminated")


def test_thresholds_decide_what_is_excluded_and_nothing_before_it() -> None:
    before, after = (
        pool_steps(spec_of(deduplication={"threshold": value}, decontamination=CLEANED["decontamination"]))
        for value in (0.9, 0.95)
    )
    changed = {name for name in before if before[name].config_fingerprint != after[name].config_fingerprint}
    assert changed == {"duplicates"}
    assert "admitted" in descendants(after, "duplicates")


def test_tokens_are_counted_if_a_target_needs_them() -> None:
    text = {
        "source": {"format": "jsonl", "path": "data/raw"},
        "encoder": {"kind": "sentence_transformers", "model": "mini"},
        "preprocessing": {},
    }
    assert "token_counts" not in pool_steps(spec_of(**text))
    counted = pool_steps(spec_of(**text, targets=[{"name": "budget", "tokens": 1000}]))
    assert counted["token_counts"].inputs == ("raw_pool",)
    assert "token_counts" in counted["selection"].inputs
    other = pool_steps(spec_of(**text, targets=[{"name": "budget", "tokens": 1000}], tokenizer="words"))
    assert other["token_counts"].config_fingerprint != counted["token_counts"].config_fingerprint
    assert other["embeddings"].config_fingerprint == counted["embeddings"].config_fingerprint


def test_how_a_target_is_drawn_decides_nothing_before_the_selection() -> None:
    target = {"name": "small", "size": 20}
    before = pool_steps(spec_of(targets=[target]))
    for change, also in (
        ({"seed": 1}, set()),
        ({"evenness": 0.5}, {"probe", "frontier"}),
        # Every level is probed, whichever is taken.
        ({"balance_from": "level_1"}, {"frontier"}),
    ):
        after = pool_steps(spec_of(targets=[target | change]))
        assert changed_steps(before, after) == {"selection", *also}


def changed_steps(before: dict[str, Step], after: dict[str, Step]) -> set[str]:
    return {name for name in before if before[name].config_fingerprint != after[name].config_fingerprint}


def test_the_probe_is_there_with_labels_or_a_command_and_never_needs_the_selection() -> None:
    steps = pool_steps(spec_of())
    assert "raw_pool" in steps["probe"].inputs
    assert not {"selection", "ledger"} & set(ancestors(steps, "probe"))
    assert "probe" not in steps["selection"].inputs
    assert {"comparison", "frontier", "probe"} <= set(steps["curation_report"].inputs)
    unlabelled = {"path": "data/raw/emoji"}
    assert "probe" not in pool_steps(spec_of(source=unlabelled))
    assert "probe" not in pool_steps(spec_of(probe=None))
    commanded = pool_steps(spec_of(source=unlabelled, probe={"command": ["judge"]}))["probe"]
    assert "raw_pool" not in commanded.inputs
    assert commanded.extra_inputs == ()
    joined = pool_steps(spec_of(probe={"labels": {"path": "labels.csv"}}))["probe"]
    assert joined.extra_inputs == (ExtraInput.LABELS_TABLE,)
    assert "raw_pool" not in joined.inputs


def test_the_probe_feeds_the_selection_that_asks_for_it() -> None:
    targets = [{"name": "small", "size": 20, "balance_from": {"by": "probe"}}]
    steps = pool_steps(spec_of(targets=targets))
    assert "probe" in steps["selection"].inputs
    assert "probe" in steps["frontier"].inputs
    assert list(steps).index("probe") < list(steps).index("selection")


def test_another_figure_or_timeout_does_not_run_a_command_again() -> None:
    targets = [{"name": "small", "size": 20, "balance_from": {"by": "probe"}}]
    probe: dict[str, Any] = {"command": ["judge"], "figure": "accuracy"}
    before = pool_steps(spec_of(targets=targets, probe=probe))
    other = pool_steps(spec_of(targets=targets, probe=probe | {"figure": "recall", "timeout_seconds": 9}))
    assert changed_steps(before, other) == {"selection", "frontier"}
    again = pool_steps(spec_of(targets=targets, probe=probe | {"command": ["judge", "--fast"]}))
    assert changed_steps(before, again) == {"probe"}
