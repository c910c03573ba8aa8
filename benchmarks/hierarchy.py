"""Hierarchical k-means with resampling against pt-kmeans, both sides in one run.

.venv/bin/pip install pt-kmeans && .venv/bin/python benchmarks/hierarchy.py
"""

from __future__ import annotations

import platform
import time
from importlib.metadata import version

import numpy as np
import torch

from curation_assets.algorithms import LevelSpec, effective_number, fit_hierarchy

N_CLUSTERS, KEPT, STEPS = [2000, 500, 120, 30], [5, 2, 2, 2], 10


def clustered_pool(n_rows: int = 20_000, dimension: int = 384, seed: int = 0) -> np.ndarray:
    """Unit rows around 300 concepts with long-tailed shares."""
    rng = np.random.default_rng(seed)
    concepts = rng.normal(size=(300, dimension))
    shares = 1 / np.arange(1, 301)
    chosen = rng.choice(300, n_rows, p=shares / shares.sum())
    rows = concepts[chosen] + 0.8 * rng.normal(size=(n_rows, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


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
    names = ("torch", "numpy", "pt-kmeans")
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, {', '.join(f'{n} {version(n)}' for n in names)}"
    )


if __name__ == "__main__":
    main()
