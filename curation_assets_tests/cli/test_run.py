"""What `curation-assets run` says at its end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from curation_assets.cli.run import _show_damage, _show_result
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets_tests.projects import spec_of
from curation_assets_tests.steps.comparison.stored import LOST, WON, store_comparison
from curation_assets_tests.steps.making import RECIPE


def said(folder: Path, **verdicts: Any) -> list[str]:
    storage, lines = PoolStorage(str(folder), "pool"), []
    with storage.output("selection").writing(RECIPE) as writer:
        writer.summary.update(targets=dict.fromkeys(verdicts, 10), n_rows=100)
    if verdicts:
        store_comparison(storage, **verdicts)
    driver = SimpleNamespace(spec=spec_of(), storage=storage)
    runner: Any = SimpleNamespace(driver=driver, n_made=3, say=lines.append)
    _show_result(runner, 1.0, whole=True)
    return lines


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
    storage, lines = PoolStorage(str(tmp_path), "pool"), []
    storage.save_shards([Shard("a", ()), Shard("b", (), "failed once")])
    with storage.output("raw_pool", "a").writing(RECIPE) as writer:
        writer.summary.update(n_rows=9, rejections={"not_an_image": 2})
    runner: Any = SimpleNamespace(
        driver=SimpleNamespace(spec=spec_of(), storage=storage), say=lambda line, style: lines.append(line)
    )
    _show_damage(runner)
    assert lines == [
        "  rejected: 2 of 9 samples (not_an_image: 2)",
        "  curated without shard b: failed once",
    ]
