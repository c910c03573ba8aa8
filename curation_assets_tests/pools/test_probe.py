"""Settings of the probe: which labels it takes, and what is refused with which remedy."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from curation_assets_tests.projects import SMALL_POOL, spec_of

UNLABELLED = {"path": "data/raw/emoji"}
BY_PROBE = [{"name": "small", "size": 20, "balance_from": {"by": "probe"}}]


def test_a_pool_with_labels_is_probed_by_the_first_of_them() -> None:
    assert spec_of().probe_label == "subgroup"
    assert spec_of(probe={"label_field": "group"}).probe_label == "group"
    table = {"path": "data/labels.csv", "label_field": "species"}
    assert spec_of(probe={"labels": table}, source=UNLABELLED).probe_label == "species"
    assert spec_of().is_probed


def test_without_labels_only_a_command_probes() -> None:
    assert not spec_of(source=UNLABELLED).is_probed
    assert spec_of(source=UNLABELLED, probe={"command": "judge"}).is_probed
    assert not spec_of(probe=None).is_probed
    assert spec_of(probe=None).probe_label is None


def test_the_held_out_part_is_a_share_or_a_number() -> None:
    for value in (0.25, 20, 1):
        probe = spec_of(probe={"held_out": value}).probe
        assert probe is not None
        assert probe.held_out == value
        assert type(probe.held_out) is type(value)


def test_the_probe_may_choose_with_labels_or_a_figure() -> None:
    assert spec_of(targets=BY_PROBE).targets[0].asks_probe
    probe = {"command": ["judge"], "figure": "accuracy"}
    assert spec_of(targets=BY_PROBE, source=UNLABELLED, probe=probe).targets[0].asks_probe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probe": {"held_out": 0.6}}, "held_out"),
        ({"probe": {"held_out": 0}}, "held_out"),
        ({"probe": {"held_out": True}}, "held_out"),
        ({"probe": {"command": []}}, "the command is empty: name a program"),
        ({"probe": {"command": "  "}}, "the command is empty"),
        ({"probe": {"command": ["", "x"]}}, "the command is empty"),
        ({"probe": {"figure": "accuracy"}}, "no command that returns it: add command or remove figure"),
        (
            {"probe": {"label_field": "colour"}},
            "'colour', but source.label_fields keeps subgroup, group: add it",
        ),
        (
            {"probe": {"labels": {"path": "labels.txt"}}},
            r"ends in \.parquet, \.csv, \.tsv, \.jsonl, got 'labels\.txt'",
        ),
        ({"probe": {"labels": {"path": "s3://me:secret@bucket/x.csv"}}}, "holds credentials"),
        ({"probe": {"labels": {"path": "a.csv", "id_field": "label"}}}, "both 'label': name two columns"),
        (
            {"probe": {"label_field": "group", "labels": {"path": "a.csv"}}},
            "labels names a column of its own: remove one of them",
        ),
        (
            {"targets": BY_PROBE, "source": UNLABELLED},
            "'small' has balance_from: {by: probe}, but the pool has no labels and no probe.command: name labels",
        ),
        (
            {"targets": BY_PROBE, "probe": None},
            "but probe is null: remove that key, or let balance_from be auto",
        ),
        (
            {"targets": BY_PROBE, "source": UNLABELLED, "probe": {"command": "judge"}},
            "no labels and probe.figure is not set: name the figure",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec_of(**{"source": SMALL_POOL["source"], **changes})


def test_a_refused_secret_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as refused:
        spec_of(probe={"labels": {"path": "s3://me:secret@bucket/x.csv"}})
    assert "secret" not in str(refused.value.errors()[0]["msg"])
