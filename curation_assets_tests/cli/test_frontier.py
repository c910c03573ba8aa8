"""`curation-assets frontier` and `probe`: what they print, and what they say of outputs that are missing or old."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from curation_assets.cli.main import cli
from curation_assets.errors import PoolSpecError, StaleInputError
from curation_assets_tests.projects import Project
from curation_assets_tests.steps.drawn_pool import Pool, png, write_tar
from curation_assets_tests.steps.making import make


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("home")
    (folder / "raw").mkdir()
    write_tar(folder / "raw" / "a.tar", {f"{'abc'[i % 3]}{i:02}": png(None, i) for i in range(30)})
    made = Pool(folder)
    made.run()
    write_pool(folder, made)
    return made


def write_pool(folder: Path, made: Pool, **changes: object) -> None:
    (folder / "pools").mkdir(exist_ok=True)
    settings = made.spec.model_dump(mode="json", exclude={"name"}, exclude_unset=True)
    (folder / "pools" / "drawn.yaml").write_text(yaml.safe_dump(settings | changes))


@pytest.fixture(autouse=True)
def home(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_HOME", str(pool.folder))
    monkeypatch.setenv("CURATION_STORAGE", str(pool.folder / "curated"))
    monkeypatch.setenv("CURATION_STATE", str(pool.folder / "state"))
    monkeypatch.setenv("DAGSTER_HOME", str(pool.folder / "state"))
    monkeypatch.setenv("COLUMNS", "80")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_a_frontier_or_probe_that_was_never_made_is_named_with_the_remedy(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_STORAGE", str(tmp_path))
    for command in ("frontier", "probe"):
        with pytest.raises(
            StaleInputError, match=f"no {command} yet: make it with `curation-assets run --pool drawn`"
        ):
            run(command, "--pool", "drawn")
        with pytest.raises(PoolSpecError, match="--pool other: no such pool"):
            run(command, "--pool", "other")


def test_a_pool_without_a_probe_says_how_to_get_one(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    write_pool(tmp_path, pool, probe=None)
    with pytest.raises(PoolSpecError, match=r"'drawn' is not probed: name labels with source\.label_fields"):
        run("probe", "--pool", "drawn")


def test_the_frontier_is_printed_by_size_and_as_json(pool: Pool) -> None:
    make(pool.spec, pool.storage, "frontier")
    words = run("frontier", "--pool", "drawn").output
    # The steps of this pool were made by hand, with recipes that no run would have.
    assert "this frontier is out of date (" in words
    assert "update it with `curation-assets run --pool drawn`" in words
    assert "drawn: subsets of 30 samples; rule of target small" in words
    for text in ("Effective labels (kind)", "random", "paper's rule", "evenness 0.75", "from level", "80.0%"):
        assert text in words
    assert "…" not in words, "80 columns hold the tables"
    assert "Vendi score" not in words
    assert "--all shows 3 more measures" in words
    shares = [float(share) for share in re.findall(r"^│ +[\d,]+ │ +([\d.]+)% │", words, re.MULTILINE)]
    assert (len(shares), shares[:7]) == (21, sorted(shares[:7]))
    assert "Vendi score" in run("frontier", "--pool", "drawn", "--all").output
    document = json.loads(run("frontier", "--pool", "drawn", "--json").output)
    assert document["pool"] == "drawn"
    assert document["out_of_date"]
    assert document["n_admissible"] == 30
    assert document["measures"] == pool.storage.frontier().measures.read().to_dicts()


def test_the_probe_is_printed_by_target_with_its_losses_and_as_json(pool: Pool) -> None:
    make(pool.spec, pool.storage, "probe")
    words = run("probe", "--pool", "drawn").output
    assert "this probe is out of date (" in words
    for text in (
        "size of target small",
        "size of target typical",
        "nearest neighbour",
        "linear",
        "(the target)",
        "±",
    ):
        assert text in words
    document = json.loads(run("probe", "--pool", "drawn", "--json").output)
    assert document["label_field"] == "kind"
    assert document["accuracy"] == pool.storage.probe().accuracy.read().to_dicts()
    assert {row["label"] for row in document["labels"]} == {"a", "b", "c"}
    assert document["figures"] == []


def test_what_is_up_to_date_is_shown_without_a_warning(finished: Project) -> None:
    code, words = finished.run("frontier", "--pool", "emoji")
    assert code == 0
    assert "out of date" not in words
    code, words = finished.run("probe", "--pool", "emoji", "--json")
    assert (code, json.loads(words)["out_of_date"]) == (0, None)
