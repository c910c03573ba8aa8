"""Hierarchical k-means with resampling against pt-kmeans, both sides in one run.

.venv/bin/pip install -e '.[bench]' && .venv/bin/python benchmarks/hierarchy.py

Each side first clusters a tenth of the pool, so that libraries are loaded and threads are running when the clock
starts. The extra time of the very first fit of a process is printed separately. Both sides then take turns, each
time with another seed. The fastest run of each counts, because the speed of a machine varies more than either side
does. The balance of the top clusters depends on the seed, so its mean over all runs is printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from machine import describe_machine
from pools_of_vectors import clustered_pool

from curation_assets.algorithms import LevelSpec, effective_number, fit_hierarchy

N_CLUSTERS, KEPT, STEPS = [2000, 500, 120, 30], [5, 2, 2, 2], 10


def ours(x: np.ndarray, n_clusters: list[int], seed: int) -> np.ndarray:
    """Top clusters of the rows by curation_assets."""
    specs = [
        LevelSpec(n_clusters=k, samples_per_cluster=r, resampling_steps=STEPS)
        for k, r in zip(n_clusters, KEPT, strict=True)
    ]
    return fit_hierarchy(x, specs, metric="cosine", seed=seed).row_clusters()[:, -1]


def theirs(x: np.ndarray, n_clusters: list[int], seed: int) -> np.ndarray:
    """Top clusters of the rows by pt-kmeans."""
    import pt_kmeans

    levels = pt_kmeans.hierarchical_kmeans(
        torch.from_numpy(x),
        n_clusters=n_clusters,
        method="resampled",
        n_samples=KEPT,
        n_resamples=STEPS,
        max_iters=50,
        distance_metric="cosine",
        random_seed=seed,
    )
    return levels[-1]["assignment"].numpy()


def seconds(
    cluster: Callable[..., np.ndarray], x: np.ndarray, n_clusters: list[int], seed: int = 0
) -> tuple[float, float]:
    """Seconds of a clustering, and the effective number of its top clusters."""
    began = time.perf_counter()
    tops = cluster(x, n_clusters, seed)
    return time.perf_counter() - began, effective_number(np.bincount(tops))


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=2, help="runs of each side; the fastest counts")
    repeats = parser.parse_args().repeats
    x = clustered_pool()
    small, few = x[:2000], [k // 10 for k in N_CLUSTERS]
    first, again = (seconds(ours, small, few)[0] for _ in range(2))
    seconds(theirs, small, few)
    runs: dict[str, list[tuple[float, float]]] = {"curation_assets": [], "pt-kmeans": []}
    for seed in range(repeats):
        for name, cluster in (("curation_assets", ours), ("pt-kmeans", theirs)):
            runs[name].append(seconds(cluster, x, N_CLUSTERS, seed))
            took, effective = runs[name][-1]
            print(f"{name:16}{took:8.1f} s   effective top clusters {effective:.1f}", flush=True)
    best = {name: min(took for took, _ in of_seeds) for name, of_seeds in runs.items()}
    print(f"ratio           {best['pt-kmeans'] / best['curation_assets']:8.1f} x")
    for name, of_seeds in runs.items():
        print(
            f"{name:16}{np.mean([effective for _, effective in of_seeds]):8.1f} effective top clusters, mean"
        )
    print(f"the first fit of a process takes {first - again:.1f} s more")
    print(describe_machine("torch", "numpy", "pt-kmeans"))


if __name__ == "__main__":
    main()
