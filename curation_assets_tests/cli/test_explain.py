"""`curation-assets explain` on a finished pool of drawn images."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from curation_assets.cli.main import cli
from curation_assets.errors import PoolSpecError
from curation_assets_tests.steps.drawn_pool import Pool, png, write_tar


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("home")
    (folder / "raw").mkdir()
    write_tar(folder / "raw" / "a.tar", {f"a{i:02}": png(None, i) for i in range(20)})
    odd = {"white": png((255, 255, 255)), "cut": png(None)[:70], "a03": png(None, 500)}
    write_tar(folder / "raw" / "b.tar", {**{f"b{i:02}": png(None, 100 + i) for i in range(20)}, **odd})
    made = Pool(folder)
    made.run()
    (folder / "pools").mkdir()
    settings = made.spec.model_dump(mode="json", exclude={"name"}, exclude_unset=True)
    (folder / "pools" / "drawn.yaml").write_text(yaml.safe_dump(settings))
    return made


@pytest.fixture(autouse=True)
def home(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_HOME", str(pool.folder))
    monkeypatch.setenv("CURATION_STORAGE", str(pool.folder / "curated"))
    monkeypatch.setenv("CURATION_STATE", str(pool.folder / "state"))
    monkeypatch.setenv("DAGSTER_HOME", str(pool.folder / "state"))
    monkeypatch.setenv("COLUMNS", "160")


def explain(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["explain", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_a_selected_sample_is_told_with_its_files(pool: Pool) -> None:
    selected = pool.storage.output("selection").table("selected.parquet").filter(pl.col("target") == "small")
    row = selected.row(0, named=True)
    words = explain(row["sample_id"], "--pool", "drawn")
    assert f"{row['sample_id']}  (pool drawn, shard {row['shard']}, row {row['raw_row']})" in words
    assert "fate        selected: for small" in words
    assert "small: 15 samples, selected" in words
    level = pool.storage.selection().require_facts().summary["balance_from"]["small"]
    assert f"target      small: balanced from level {level} (" in words
    assert "scores: level 1 " in words
    (story,) = json.loads(explain(row["sample_id"], "--json"))
    assert {Path(path).name for path in story["files"] if "/small/" in path} == {
        f"{row['shard']}.tar", f"{row['shard']}.parquet"
    }  # fmt: skip
    assert all(Path(path).exists() for path in story["files"])
    assert [step["cluster"] for step in story["clusters"]] == [row["level_1"], row["level_2"]]
    assert story["clusters"][0]["distance"] == pytest.approx(row["distance"], abs=1e-6)
    quotas = pool.storage.output("selection").table("quotas.parquet")
    for share in story["targets"][0]["shares"]:
        stored = quotas.filter(
            (pl.col("target") == "small")
            & (pl.col("level") == share["level"])
            & (pl.col("cluster") == share["cluster"])
        )
        assert stored.select("size", "quota").row(0) == (share["size"], share["quota"])


def test_every_row_of_an_id_is_told_and_what_is_out_of_date_is_said() -> None:
    words = explain("a03")
    assert words.count("(pool drawn, shard ") == 2
    assert "fate        rejected: duplicate_id: also in shard a, which is kept" in words
    # The fixture's outputs were not made by the graph, so their recipes are not the pool's.
    assert "warning     the ledger of this shard is out of date" in words
    assert "fate        rejected: corrupt_image: " in explain("cut")


def test_an_unknown_id_names_those_that_look_like_it() -> None:
    with pytest.raises(PoolSpecError, match=r"no sample has the id 'a3' \(pools searched: drawn\).*a03"):
        explain("a3")
    with pytest.raises(PoolSpecError, match=r"no sample has the id 'zzzz' \(pools searched: drawn\)$"):
        explain("zzzz")
