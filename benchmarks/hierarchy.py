"""Hierarchical k-means with resampling against pt-kmeans, both sides in one run.

.venv/bin/pip install pt-kmeans && .venv/bin/python benchmarks/hierarchy.py
"""

from __future__ import annotations

import time

import numpy as np
import torch
from machine import describe_machine
from pools_of_vectors import clustered_pool

from curation_assets.algorithms import LevelSpec, effective_number, fit_hierarchy

N_CLUSTERS, KEPT, STEPS = [2000, 500, 120, 30], [5, 2, 2, 2], 10


def main() -> None:  # noqa: D103 - see the module
    import pt_kmeans

    x = clustered_pool()
    specs = [
        LevelSpec(n_clusters=k, samples_per_cluster=r, resampling_steps=STEPS)
        for k, r in zip(N_CLUSTERS, KEPT, strict=True)
    ]
    began = time.perf_counter()
    tree = fit_hierarchy(x, specs, metric="cosine", seed=0)
    ours = time.perf_counter() - began
    tops = effective_number(np.bincount(tree.row_clusters()[:, -1]))
    print(f"curation_assets  {ours:8.1f} s   effective top clusters {tops:.1f}", flush=True)

    began = time.perf_counter()
    levels = pt_kmeans.hierarchical_kmeans(
        torch.from_numpy(x),
        n_clusters=N_CLUSTERS,
        method="resampled",
        n_samples=KEPT,
        n_resamples=STEPS,
        max_iters=50,
        distance_metric="cosine",
        random_seed=0,
    )
    theirs = time.perf_counter() - began
    clusters = levels[-1]["assignment"]
    tops = effective_number(torch.bincount(clusters).numpy())
    print(f"pt-kmeans        {theirs:8.1f} s   effective top clusters {tops:.1f}")
    print(f"ratio            {theirs / ours:8.1f} x")
    print(describe_machine("torch", "numpy", "pt-kmeans"))


if __name__ == "__main__":
    main()
