"""probe: what it holds out, trains on, asks the pool's command, and stores."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation_assets.errors import CurationError
from curation_assets.steps.comparison import probe
from curation_assets.steps.comparison.candidates import Candidates
from curation_assets.steps.comparison.probe_draws import ProbeDraws
from curation_assets_tests.steps.comparison.probed_pool import copy_pool
from curation_assets_tests.steps.drawn_pool import Pool
from curation_assets_tests.steps.making import make

# Keeps what it got beside itself, and returns the level of a candidate (0 for baselines) and its size.
JUDGE = """
import json, os, pathlib, shutil, sys
path = pathlib.Path(os.environ["CURATION_CANDIDATES"])
shutil.copytree(path.parent, "seen")
listed = json.loads(path.read_text())
figures = {c["name"]: {"level": c["level"] or 0, "seed": c["seed"], "n": c["n_samples"]} for c in listed["candidates"]}
print("not the result")
pathlib.Path(os.environ["CURATION_FIGURES"]).write_text(json.dumps(figures))
"""
TARGETS = [{"name": "small", "size": 15}, {"name": "half", "fraction": 0.5, "evenness": 1.0}]


def judged(folder: Path, **settings: Any) -> dict[str, Any]:
    (folder / "judge.py").write_text(JUDGE)
    return {"command": [sys.executable, "judge.py"], "n_seeds": 2, **settings}


def seen(folder: Path) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """What the command got: the file of candidates, and the ids of every list by name."""
    listed = json.loads((folder / "seen" / "candidates.json").read_text())
    entries = {entry["name"]: entry for entry in listed["candidates"]} | {"held_out": listed["held_out"]}
    ids = {
        name: (folder / "seen" / Path(entry["ids"]).name).read_text().splitlines()
        for name, entry in entries.items()
    }
    assert {name: len(found) for name, found in ids.items()} == {
        name: entry["n_samples"] for name, entry in entries.items()
    }
    return listed, ids


def test_accuracies_are_stored_for_every_subset_probe_and_label(drawn: Pool, tmp_path: Path) -> None:
    spec, storage = copy_pool(drawn, tmp_path, targets=TARGETS, probe={"n_seeds": 2})
    output = make(spec, storage, "probe")
    accuracy = storage.probe().accuracy.read()
    assert accuracy.schema == dict(accuracy.schema) | {"level": pl.Int8, "n_seeds": pl.Int32}
    kinds = accuracy.select("target", "subset", "level").unique(maintain_order=True).rows()
    of_target = [("random", None), ("flat k-means", None), ("level_1", 1), ("level_2", 2)]
    assert kinds == [(target, *kind) for target in ("small", "half") for kind in of_target]
    assert set(accuracy["probe"]) == {"nearest_neighbour", "linear"}
    assert set(accuracy["field"]) == {"kind"}
    assert accuracy["mean"].is_between(0, 1).all()
    assert accuracy["spread"].null_count() == 0
    by_label = storage.probe().labels.read()
    assert set(by_label["label"]) == {"a", "b", "c"}
    # Labels weigh the same: their mean is the accuracy of the subset.
    again = by_label.group_by("target", "subset", "probe").agg(pl.col("accuracy").mean())
    both = accuracy.join(again, on=["target", "subset", "probe"])
    np.testing.assert_allclose(both["mean"], both["accuracy"], atol=1e-5)
    assert storage.probe().figures.read().is_empty()
    summary = output.require_facts().summary
    assert (summary["label_field"], summary["n_labels"], summary["n_tested_labels"]) == ("kind", 3, 3)
    assert summary["sizes"]["small"] == 15


def test_the_same_settings_give_the_same_bytes(drawn: Pool, tmp_path: Path) -> None:
    spec, storage = copy_pool(drawn, tmp_path, probe={"n_seeds": 2})
    first = make(spec, storage, "probe").require_facts().digest
    assert make(spec, storage, "probe").require_facts().digest == first


def test_test_samples_are_balanced_over_the_labels_and_in_no_subset(drawn: Pool, tmp_path: Path) -> None:
    spec, storage = copy_pool(drawn, tmp_path, targets=TARGETS, probe=judged(tmp_path, held_out=4))
    make(spec, storage, "probe", home=tmp_path)
    listed, ids = seen(tmp_path)
    held_out = ids.pop("held_out")
    assert sorted(sample_id[0] for sample_id in held_out) == ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    assert list(ids) == [
        f"{target}/{subset}/{seed}"
        for target in ("small", "half")
        for subset in ("random", "flat_k-means", "level_1", "level_2")
        for seed in (0, 1)
    ]
    for found in ids.values():
        assert not set(found) & set(held_out)
        assert len(set(found)) == len(found)
    assert ids["small/random/0"] != ids["small/random/1"]
    assert (listed["pool"], listed["seed"]) == ("drawn", 0)
    # Each id has its shard on the same line of the other list.
    entry = listed["candidates"][0]
    shards = (tmp_path / "seen" / Path(entry["shards"]).name).read_text().splitlines()
    for shard, sample_id in zip(shards, ids[entry["name"]], strict=True):
        assert sample_id in storage.embedded(shard).rows.column("sample_id").to_list()
    assert not Path(entry["ids"]).parent.exists()


def test_at_most_half_of_a_label_is_held_out(drawn: Pool, tmp_path: Path) -> None:
    spec, storage = copy_pool(drawn, tmp_path, probe=judged(tmp_path, held_out=1000))
    make(spec, storage, "probe", home=tmp_path)
    _, ids = seen(tmp_path)
    found = [sample_id[0] for sample_id in ids["held_out"]]
    n_of = {letter: found.count(letter) for letter in "abc"}
    admissible = storage.embeddings().n_rows
    assert n_of["c"] <= 4 < n_of["a"] <= 10
    assert len(found) <= admissible / 2


def test_figures_of_the_command_are_stored_by_subset(drawn: Pool, tmp_path: Path) -> None:
    spec, storage = copy_pool(drawn, tmp_path, targets=TARGETS[:1], probe=judged(tmp_path))
    lines: list[str] = []
    output = make(spec, storage, "probe", home=tmp_path, log=lines.append)
    figures = storage.probe().figures.read()
    levels = figures.filter(pl.col("figure") == "level")
    assert levels.select("subset", "mean", "spread", "n_seeds").rows() == [
        ("random", 0.0, 0.0, 2), ("flat k-means", 0.0, 0.0, 2), ("level_1", 1.0, 0.0, 2), ("level_2", 2.0, 0.0, 2),
    ]  # fmt: skip
    (seeds,) = set(figures.filter(pl.col("figure") == "seed")["mean"])
    assert seeds == 0.5
    assert output.require_facts().summary["command"]["small/level_2/1"] == {
        "level": 2.0,
        "n": 15.0,
        "seed": 1.0,
    }
    assert lines == [f"probe.command runs without a shell: {sys.executable} judge.py"]


def test_without_labels_nothing_is_held_out_and_the_command_judges(drawn: Pool, tmp_path: Path) -> None:
    spec, storage = copy_pool(
        drawn, tmp_path, source={"path": "raw"}, probe=judged(tmp_path, figure="accuracy")
    )
    lines: list[str] = []
    make(spec, storage, "probe", home=tmp_path, log=lines.append)
    assert seen(tmp_path)[1]["held_out"] == []
    assert storage.probe().accuracy.read().is_empty()
    assert not storage.probe().figures.read().is_empty()
    assert (
        lines[-1] == "probe.figure is 'accuracy', but probe.command returned level, n, seed: name one of them"
    )


def test_the_command_may_choose_the_start_level(drawn: Pool, tmp_path: Path) -> None:
    targets = [{"name": "small", "size": 15, "balance_from": {"by": "probe"}}]
    probe = judged(tmp_path, figure="level")
    spec, storage = copy_pool(drawn, tmp_path, targets=targets, probe=probe)
    make(spec, storage, "probe", home=tmp_path)
    assert make(spec, storage, "selection").require_facts().summary["balance_from"] == {"small": 2}
    other = spec.model_copy(update={"probe": spec.probe.model_copy(update={"figure": "loss"})})  # type: ignore[union-attr]
    with pytest.raises(
        CurationError, match=r"probe\.figure is 'loss', but .* level, n, seed\. Name one of them"
    ):
        make(other, storage, "selection")


def test_a_failing_command_stores_nothing_and_leaves_nothing(
    drawn: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    spec, storage = copy_pool(drawn, tmp_path, probe={"command": "echo no such data >&2; exit 3"})
    with pytest.raises(CurationError, match=r"exit code 3(.|\n)*no such data"):
        make(spec, storage, "probe", home=tmp_path)
    assert storage.probe().facts() is None
    assert list((tmp_path / "scratch").iterdir()) == []


def test_labels_of_a_table_take_the_place_of_the_sources(drawn: Pool, tmp_path: Path) -> None:
    ids = [f"{letter}{i}" for letter in "ab" for i in range(18)]
    rows = [f"{sample_id},{'even' if int(sample_id[1:]) % 2 == 0 else 'odd'}" for sample_id in [*ids, "z9"]]
    (tmp_path / "labels.csv").write_text("id,label\n" + "\n".join(rows))
    spec, storage = copy_pool(
        drawn, tmp_path, source={"path": "raw"}, probe={"labels": {"path": "labels.csv"}}
    )
    lines: list[str] = []
    output = make(spec, storage, "probe", home=tmp_path, log=lines.append)
    summary = output.require_facts().summary
    assert (summary["label_field"], summary["n_labels"]) == ("label", 2)
    assert summary["labels_table"]["n_rows_without_sample"] == 1
    assert summary["labels_table"]["rows_without_sample"] == "z9"
    assert summary["labels_table"]["n_samples_without_row"] > 0
    assert "belong to no embedded sample, e.g. z9" in lines[1]


def test_a_label_that_no_probe_can_learn_is_named(drawn: Pool, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("id,label\na0,x\na1,y\n")
    spec, storage = copy_pool(
        drawn, tmp_path, source={"path": "raw"}, probe={"labels": {"path": "labels.csv"}}
    )
    with pytest.raises(CurationError, match="no label of 'label' has two samples"):
        make(spec, storage, "probe", home=tmp_path)


def test_labels_that_nobody_asked_to_probe_do_not_stop_a_pool(
    drawn: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each_another = {"in_pool": np.ones(3, dtype=np.int64)}
    real = probe.read_label_field
    monkeypatch.setattr(probe, "read_label_field", lambda *given: replace(real(*given), **each_another))
    spec, storage = copy_pool(drawn, tmp_path)
    lines: list[str] = []
    summary = make(spec, storage, "probe", log=lines.append).require_facts().summary
    assert lines == ["no label of 'kind' has two samples that may be drawn, so no probe can be tested"]
    assert summary["n_held_out"] == 0
    assert storage.probe().accuracy.read().is_empty()


def test_of_many_labels_the_most_frequent_are_learnt(
    drawn: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "MOST_LABELS", 2)
    spec, storage = copy_pool(drawn, tmp_path, probe={"n_seeds": 1})
    summary = make(spec, storage, "probe").require_facts().summary
    assert (summary["n_labels"], summary["n_tested_labels"]) == (2, 2)
    assert set(storage.probe().labels.read()["label"]) == {"a", "b"}


def test_subsets_are_as_large_as_their_target_where_enough_is_left(drawn: Pool, tmp_path: Path) -> None:
    targets = [{"name": "most", "fraction": 0.9}, {"name": "small", "size": 15}]
    spec, storage = copy_pool(drawn, tmp_path, targets=targets, probe={"held_out": 4})
    candidates = Candidates.read(spec, storage)
    total = candidates.total().amount
    held_out = candidates.rows()[: total // 4]
    draws = ProbeDraws.of(spec, candidates, held_out)
    sizes = {target.name: draws.size(target).amount for target in spec.targets}
    assert sizes == {"most": total - len(held_out), "small": 15}
    for probed in draws.subsets(spec.targets):
        rows = draws.draw(probed, 0)
        assert rows is None or len(rows) == sizes[probed.target.name]
        np.testing.assert_array_equal(rows, draws.draw(probed, 0))


def test_a_target_is_probed_alike_whatever_the_others_are(drawn: Pool, tmp_path: Path) -> None:
    spec, storage = copy_pool(drawn, tmp_path, targets=TARGETS, probe={})
    candidates = Candidates.read(spec, storage)
    nothing = np.zeros(0, dtype=np.int64)
    alone = spec.model_copy(update={"targets": spec.targets[1:]})
    both, one = ProbeDraws.of(spec, candidates, nothing), ProbeDraws.of(alone, candidates, nothing)
    for probed in one.subsets(alone.targets):
        np.testing.assert_array_equal(one.draw(probed, 1), both.draw(probed, 1))
