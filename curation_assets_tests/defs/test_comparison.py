"""The comparison in the UI: its check, and what stands on its materialization."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from curation_assets.defs.checks import CHECKS
from curation_assets.defs.shown import SHOWN
from curation_assets.steps.context import PoolAccess
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.projects import spec_of
from curation_assets_tests.steps.comparison.stored import LOST, WON, store_comparison


def access(folder: Path) -> PoolAccess:
    return PoolAccess(spec_of(), PoolStorage(str(folder), "pool"), str(folder))


def test_the_check_passes_if_every_target_beats_its_baselines(tmp_path: Path) -> None:
    pool = access(tmp_path)
    store_comparison(pool.storage, small=WON, large=WON)
    result = CHECKS["beats_baselines"].evaluate(pool)
    assert result.passed
    assert "small: Balancing worked" in str(result.description)


def test_the_check_warns_of_the_target_that_does_not(tmp_path: Path) -> None:
    pool = access(tmp_path)
    store_comparison(pool.storage, small=WON, large=LOST)
    result = CHECKS["beats_baselines"].evaluate(pool)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == "large: Balancing made it worse: 15.0 effective labels (kind)."
    rows = result.metadata["verdicts"].records
    assert [row.data["against_the_best_baseline"] for row in rows] == ["-25.0 %", "+25.0 %"]
    assert rows[0].data["remedy"] == "To mend it, lower evenness."


def test_verdict_measures_and_figure_stand_on_the_materialization(tmp_path: Path) -> None:
    pool = access(tmp_path)
    store_comparison(pool.storage, small=LOST)
    shown = SHOWN["comparison"](pool, pool.storage.comparison())
    assert shown["small/verdict"].endswith("To mend it, lower evenness.")
    rows = [row.data for row in shown["measures"].records]
    assert rows[0]["effective_labels of kind"] == "20.0 ± 1.5"
    assert (rows[0]["vendi"], rows[1]["vendi"]) == ("30.0 ± 0.0", "")
    assert shown["small/figure"].value.startswith("![")
