"""Asset checks on outputs written as given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curation_assets.defs.checks import CHECKS
from curation_assets.steps.context import PoolAccess
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.projects import spec_of


def level(number: int, share: float, **changes: Any) -> dict[str, Any]:
    figures = {"level": number, "n_clusters": 50 // number, "effective_number": 9.5, "largest_share": share}
    return {**figures, "collapsed": share > 0.3, "dropped": False, **changes}


@pytest.mark.parametrize(
    ("levels", "passed", "words"),
    [
        (
            [level(1, 0.1), level(2, 0.25)],
            True,
            "the largest of 25 top-level clusters holds 25.0% of the pool",
        ),
        (
            [level(1, 0.1), level(2, 0.4)],
            False,
            "level 2 has collapsed: the largest of its 25 clusters holds 40%",
        ),
        (
            [level(1, 0.2), level(2, 0.2, dropped=True, why_dropped="too close")],
            True,
            "the largest of 50 top-level clusters holds 20.0% of the pool",
        ),
    ],
)
def test_a_collapsed_level_is_named(
    tmp_path: Path, levels: list[dict[str, Any]], passed: bool, words: str
) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    with storage.output("tree").writing(Recipe({}, {}, "1")) as writer:
        writer.summary["levels"] = levels
    result = CHECKS["no_cluster_dominates"].evaluate(PoolAccess(spec_of(), storage))
    assert result.passed == passed
    assert str(result.description).startswith(words)
    assert "levels" in result.metadata
