"""The levels of a pool, fitted and assigned step by step."""

from __future__ import annotations

import numpy as np
import polars as pl

from curation_assets.algorithms import fit_hierarchy
from curation_assets.graph.levels import level_specs
from curation_assets_tests.steps.drawn_pool import Pool


def test_the_stages_are_the_library_bit_for_bit(drawn: Pool) -> None:
    rows = drawn.storage.embeddings()
    tree = fit_hierarchy(rows, level_specs(drawn.spec, rows.n_rows), metric="cosine", seed=0)
    for level, fitted in enumerate(tree.levels, start=1):
        stored = drawn.storage.output(f"level_{level}_clusters").array("centroids.npy")
        np.testing.assert_array_equal(stored, fitted.centroids)
        assigned = [
            drawn.storage.output(f"level_{level}_assign", s.key).table("parquet")
            for s in drawn.storage.shards()
        ]
        np.testing.assert_array_equal(
            pl.concat(assigned)["cluster"].to_numpy(), tree.row_clusters()[:, level - 1]
        )
