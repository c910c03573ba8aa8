"""Hierarchical sampling on a synthetic tree of 1 M level-1 clusters and 20 M rows.

.venv/bin/python benchmarks/sampling.py
"""

from __future__ import annotations

import resource
import time

import numpy as np

from curation_assets.algorithms import sample_balanced
from curation_assets.algorithms.preprocessing import Preprocessing
from curation_assets.algorithms.tree import ClusterTree, Level


def synthetic_tree(n_rows: int, n_clusters: list[int], seed: int = 0) -> ClusterTree:
    """A tree with long-tailed level-1 clusters; centroids play no part in sampling."""
    rng = np.random.default_rng(seed)
    levels, n_inputs = [], n_rows
    for t, k in enumerate(n_clusters):
        skew = 3.0 if t == 0 else 1.5
        assignments = (k * rng.random(n_inputs) ** skew).astype(np.int64)
        levels.append(Level(np.zeros((k, 1), np.float32), assignments, rng.random(n_inputs, np.float32), ()))
        n_inputs = k
    return ClusterTree(tuple(levels), Preprocessing("cosine", None, 2.0**-24), 0)


def main() -> None:  # noqa: D103 - see the module
    tree = synthetic_tree(20_000_000, [1_000_000, 50_000, 5_000, 1_000])
    for strategy in ("random", "closest"):
        began = time.perf_counter()
        rows = sample_balanced(tree, 2_000_000, strategy=strategy, seed=0)  # type: ignore[arg-type]
        print(f"{strategy:<8} {time.perf_counter() - began:6.1f} s for {len(rows):,} of 20,000,000 rows")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
