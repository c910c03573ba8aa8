"""A comparison that is stored as given, for what reads it."""

from __future__ import annotations

from typing import Any

import polars as pl

from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Comparison
from curation_assets_tests.steps.making import RECIPE

WON = {
    "sentence": "Balancing worked: 25.0 effective labels (kind), 25 ± 10 % more than a random subset (20.0).",
    "outcome": "better", "gain": 0.25, "noise": 0.1, "costs": [], "alarms": [], "unsampled": [], "remedy": "",
    "beats_baselines": True,
}  # fmt: skip
LOST = WON | {
    "sentence": "Balancing made it worse: 15.0 effective labels (kind).",
    "outcome": "worse", "gain": -0.25, "unsampled": ["No sample has the kind flag (6.5% of the pool)."],
    "remedy": "To mend it, lower evenness.", "beats_baselines": False,
}  # fmt: skip


def store_comparison(storage: PoolStorage, **verdicts: dict[str, Any]) -> None:
    """Two subsets in two measures, and a verdict, for each target."""
    rows = [
        line
        for target in verdicts
        for line in (
            (target, "random", None, "kind", "effective_labels", 20.0, 1.5, 100),
            (target, "random", None, None, "vendi", 30.0, None, 1),
            (target, "chosen", 2, "kind", "effective_labels", 25.0, 0.5, 5),
        )
    ]
    with storage.output("comparison").writing(RECIPE) as writer:
        Comparison.measures.write(writer, pl.DataFrame(rows, schema=Comparison.measures.schema, orient="row"))
        Comparison.labels.write(writer, Comparison.labels.empty())
        writer.summary["verdicts"] = verdicts
