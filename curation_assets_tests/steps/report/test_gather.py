"""What the report says of a pool of drawings, whole and cleaned."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl

from curation_assets.report.data import LeftOutSummary
from curation_assets.steps.report import gather_report
from curation_assets.steps.report.cards import CARD_IMAGES
from curation_assets.storage.fit_rows import FitRows, FittedShard, save_fit_rows
from curation_assets.storage.shards import save_left_out
from curation_assets.storage.tables import Admitted
from curation_assets_tests.steps.drawn_pool import RECIPE, Pool


def test_the_report_counts_what_the_ledger_counts(drawn: Pool) -> None:
    data = gather_report(drawn.spec, drawn.storage, drawn.reader)
    assert (data.n_samples, data.n_rejected, data.n_shards) == (49, 5, 3)
    assert [level.sizes.sum() for level in data.levels] == [49, 49]
    small = data.targets[0]
    assert small.balance_from in (1, 2)
    assert small.comparison is None, "nothing is shown of an asset that is not there"
    assert (data.frontier, data.probes) == ([], [])
    assert sum(counts[2] for counts in small.label_counts.values()) == 15
    assert len(small.balanced_sample) == len(small.random_sample) == 15
    assert sum(card.size for card in data.clusters) == 49
    for card in data.clusters:
        assert len(card.examples) == min(card.size, CARD_IMAGES)
        assert len({view.caption for view in card.examples}) == len(card.examples)
        assert 1 <= card.n_children_shown <= card.n_children or card.n_children == 0
        assert 0 < card.covered <= 1
    assert data.label_name == "kind"
    assert data.left_out == []
    assert data.embedding_speed.startswith("54 samples in ")
    assert "; bottleneck: " in data.embedding_speed


def test_files_that_the_listing_left_out_are_in_the_report(drawn: Pool, tmp_path: Path) -> None:
    shutil.copytree(drawn.folder, tmp_path / "pool")
    pool = Pool(tmp_path / "pool")
    save_left_out(pool.storage.folder, {"without a known extension": {".jp2": 8, ".heic": 6}})
    data = gather_report(pool.spec, pool.storage, pool.reader)
    assert data.left_out == [LeftOutSummary(14, "files without a known extension", ".jp2 8, .heic 6")]


def test_a_cleaned_pool_is_fitted_drawn_and_reported_without_what_was_excluded(
    drawn: Pool, tmp_path: Path
) -> None:
    shutil.copytree(drawn.folder, tmp_path / "pool")
    cleaned = Pool(tmp_path / "pool", deduplication={})
    fitted, evidence = {}, []
    for shard in cleaned.storage.shards():
        embedded = cleaned.storage.output("embeddings", shard.key)
        rows = embedded.table("rows.parquet").with_row_index("row")
        # All of shard c, and every fourth row of a, as copies of b0.
        gone = rows if shard.key == "c" else rows.gather_every(4) if shard.key == "a" else rows[:0]
        copies = {
            "fate": "duplicate",
            "kind": "semantic",
            "twin_set": "b",
            "twin_id": "b0",
            "similarity": 0.99,
        }
        excluded = gone.with_columns(pl.lit(value).alias(name) for name, value in copies.items())
        excluded = Admitted.excluded.cast(excluded)
        evidence.append(excluded.drop("fate").select(pl.lit(shard.key).alias("shard"), pl.all()))
        output = cleaned.storage.output("admitted", shard.key)
        with output.writing(RECIPE) as writer:
            kept = np.setdiff1d(np.arange(len(rows)), gone["row"].to_numpy())
            writer.array("kept.npy", kept)
            writer.table("excluded.parquet", excluded)
            writer.summary.update(n_rows=len(kept), n_excluded=len(gone))
        digest = output.require_facts().digest
        fitted[shard.key] = FittedShard(digest, len(kept), embedded.require_facts().digest)
    save_fit_rows(cleaned.storage.folder, FitRows(fitted, "encoder", "first fit"))
    with cleaned.storage.output("duplicates").writing(RECIPE) as writer:
        writer.table("evidence.parquet", pl.concat(evidence))
    cleaned.cluster()
    cleaned.select()
    ledger = cleaned.finish()
    assert dict(ledger["fate"].value_counts().rows())["duplicate"] == 15
    data = gather_report(cleaned.spec, cleaned.storage, cleaned.reader)
    assert data.n_samples == 35
    assert [level.sizes.sum() for level in data.levels] == [35, 35]
    small = data.targets[0]
    assert {label: counts[0] for label, counts in small.label_counts.items()} == {"a": 15, "b": 20, "c": 0}
    assert small.label_counts["c"][1] == 0, "a random subset has no excluded rows either"
    assert sum(card.size for card in data.clusters) == 35
