"""What `curation-assets run` says at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation_assets.defs.run.outcome import result_lines, warning_lines
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets_tests.projects import spec_of
from curation_assets_tests.steps.comparison.stored import LOST, WON, store_comparison
from curation_assets_tests.steps.making import RECIPE


def said(folder: Path, **verdicts: Any) -> list[str]:
    storage = PoolStorage(str(folder), "pool")
    with storage.output("selection").writing(RECIPE) as writer:
        writer.summary.update(targets=dict.fromkeys(verdicts, 10), n_rows=100, n_admissible=90)
    if verdicts:
        store_comparison(storage, **verdicts)
    return list(result_lines(spec_of(), storage, 3, 1.0, whole=True))


def test_a_run_ends_with_the_verdict(tmp_path: Path) -> None:
    assert said(tmp_path, small=WON)[-1] == f"  small: {WON['sentence']}"


def test_a_set_that_loses_is_followed_by_what_is_missing_and_the_remedy(tmp_path: Path) -> None:
    assert said(tmp_path, small=WON, typical=LOST)[-3:] == [
        "  typical: Balancing made it worse: 15.0 effective labels (kind).",
        "    No sample has the kind flag (6.5% of the pool).",
        "    To mend it, lower evenness.",
    ]


def test_without_a_comparison_a_run_ends_with_its_report(tmp_path: Path) -> None:
    assert said(tmp_path)[-1].startswith("  report: ")


def test_a_run_ends_with_what_could_not_be_used(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "pool")
    storage.save_shards([Shard("a", ()), Shard("b", (), "failed once")])
    with storage.output("raw_pool", "a").writing(RECIPE) as writer:
        writer.summary.update(n_rows=9, rejections={"not_an_image": 2})
    assert list(warning_lines(spec_of(), storage)) == [
        "  rejected: 2 of 9 samples (not_an_image: 2)",
        "  curated without shard b: failed once",
    ]
