"""The asset `comparison` of small pools of every kind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Comparison
from curation_assets_tests.steps.drawn_pool import Pool
from curation_assets_tests.steps.making import make
from curation_assets_tests.steps.other_pools import make_embedded_pool
from curation_assets_tests.steps.text_pool import TextPool

FREE = {"vendi", "effective_partition", "pool_distance", "isolation"}
OF_LABELS = {"effective_labels", "label_coverage"}


def compare(pool: Any) -> Comparison:
    make(pool.spec, pool.storage, "comparison")
    storage: PoolStorage = pool.storage
    return storage.comparison()


@pytest.fixture(scope="module")
def pool(drawn: Pool, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("compared") / "pool"
    shutil.copytree(drawn.folder, folder)
    return Pool(folder)


@pytest.fixture(scope="module")
def compared(pool: Pool) -> Comparison:
    return compare(pool)


def test_every_subset_is_measured_in_everything(compared: Comparison) -> None:
    measures = compared.measures.read()
    assert measures.schema == pl.Schema(Comparison.measures.schema)
    small = measures.filter(pl.col("target") == "small")
    names = ["random", "flat k-means", "level_1", "level_2", "chosen"]
    assert small["subset"].unique(maintain_order=True).to_list() == names
    for name in names:
        mine = small.filter(pl.col("subset") == name)
        assert set(mine.filter(pl.col("field").is_null())["measure"]) == FREE
        assert set(mine.filter(pl.col("field") == "kind")["measure"]) == OF_LABELS
    random = small.filter(pl.col("subset") == "random")
    assert dict(random.select("measure", "n_draws").iter_rows())["effective_labels"] == 100
    chosen = small.filter(pl.col("subset") == "chosen")
    n_draws = dict(chosen.select("measure", "n_draws").iter_rows())
    assert (n_draws["effective_labels"], n_draws["vendi"]) == (20, 5)
    assert small.filter(pl.col("subset") == "random")["level"].null_count() == len(random)
    assert small.filter(pl.col("subset") == "level_2")["level"].unique().to_list() == [2]


def test_the_labels_of_the_chosen_subset_are_those_of_the_selection(pool: Pool, compared: Comparison) -> None:
    labels = compared.labels.read().filter(pl.col("target") == "small")
    assert labels.schema == pl.Schema(Comparison.labels.schema)
    assert labels["in_pool"].to_list() == [20, 20, 9]
    selected = pool.storage.selection().selected.part("target", "small", "sample_id")
    mine = selected["sample_id"].str.head(1).value_counts().sort("sample_id")
    assert dict(labels.filter(pl.col("chosen") > 0).select("label", "chosen").iter_rows()) == dict(
        mine.iter_rows()
    )
    for name in ("random", "flat", "chosen"):
        assert labels[name].sum() == pytest.approx(15)


def test_the_summary_has_a_verdict_on_every_target(compared: Comparison) -> None:
    summary = compared.require_facts().summary
    assert set(summary["verdicts"]) == {"small", "typical"}
    for verdict in summary["verdicts"].values():
        assert verdict["sentence"].endswith(".")
        assert verdict["outcome"] in {"better", "level", "same", "behind", "worse"}
    assert (summary["n_pool_rows"], summary["n_sampled_rows"]) == (50, 49)


def test_it_comes_out_the_same_again(pool: Pool, compared: Comparison) -> None:
    before = compared.require_facts()
    assert compare(pool).require_facts().files == before.files


def test_a_cleaned_pool_of_texts_is_compared_in_tokens(tmp_path: Path) -> None:
    pool = TextPool(tmp_path, targets=[{"name": "small", "tokens": 200}])
    pool.run()
    measures = compare(pool).measures.read()
    random = measures.filter(pl.col("subset") == "random", pl.col("measure") == "effective_labels")
    assert random["n_draws"].to_list() == [100]
    labels = pool.storage.comparison().labels.read()
    assert labels["in_pool"].sum() == 53, "duplicates and contaminated texts do not count"
    assert labels["random"].sum() == pytest.approx(200 / 12, rel=0.15)


def test_a_split_pool_of_embeddings_without_labels_is_compared(tmp_path: Path) -> None:
    pool = make_embedded_pool(tmp_path)
    _cluster(pool)
    pool.select()
    stored = compare(pool)
    measures = stored.measures.read()
    assert set(measures["measure"]) == FREE
    assert "flat k-means" in set(measures["subset"])
    assert len(stored.labels.read()) == 0
    verdict = stored.require_facts().summary["verdicts"]["small"]
    assert "Vendi score" in verdict["sentence"]


def _cluster(pool: Pool) -> None:
    for level in (1, 2):
        kinds = ["clusters"] if level == 1 else ["initial", "resampled", "clusters"]
        for kind in kinds:
            make(pool.spec, pool.storage, f"level_{level}_{kind}")
        for shard in pool.storage.shards():
            make(pool.spec, pool.storage, f"level_{level}_assign", shard)
