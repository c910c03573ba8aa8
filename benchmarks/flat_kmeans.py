"""Flat k-means to tolerance against faiss, scikit-learn, pt-kmeans and superkmeans, all in one run.

.venv/bin/pip install -e '.[bench]' superkmeans && .venv/bin/python benchmarks/flat_kmeans.py

`--scaling` measures our own time against n and against k instead, and draws docs/images/kmeans_scaling.png.
`--study` compares how evenly three levels spread over the paper's 2-D data, which depends on the seeds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import describe_machine
from pools_of_vectors import POOLS, clustered_pool, plane_pool

from curation_assets.algorithms.balance import kl_to_uniform
from curation_assets.algorithms.kmeans.fit import fit_kmeans
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.assigner import assign

ITERATIONS = 20
Fit = Callable[[np.ndarray, int], np.ndarray]


def ours(x: np.ndarray, k: int, *, max_iterations: int = 50, tolerance: float = 1e-4) -> np.ndarray:
    """Centroids after k-means++ seeds and Lloyd to tolerance."""
    rows = ArrayRows(x)
    prepared = PreparedRows(rows, fit_preprocessing(rows, metric="l2", centring=False))
    fit = fit_kmeans(
        prepared,
        k,
        metric="l2",
        rng=np.random.default_rng(0),
        max_iterations=max_iterations,
        tolerance=tolerance,
    )
    return fit.centroids


def of_faiss(x: np.ndarray, k: int) -> np.ndarray:
    """20 iterations after faiss' own k-means++ seeds."""
    import faiss

    kmeans = faiss.Kmeans(x.shape[1], k, niter=ITERATIONS, seed=0, max_points_per_centroid=len(x))
    kmeans.cp.init_method = faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
    kmeans.train(x)
    return np.asarray(kmeans.centroids)


def of_scikit_learn(x: np.ndarray, k: int) -> np.ndarray:
    """Lloyd after its greedy k-means++ seeds, at most 20 iterations."""
    from sklearn.cluster import KMeans

    fitted = KMeans(k, n_init=1, max_iter=ITERATIONS, algorithm="lloyd", random_state=0).fit(x)
    return np.asarray(fitted.cluster_centers_, dtype=np.float32)


def of_pt_kmeans(x: np.ndarray, k: int) -> np.ndarray:
    """Lloyd after its k-means++ seeds, at most 20 iterations."""
    import pt_kmeans

    centroids, _ = pt_kmeans.kmeans(
        torch.from_numpy(x), k, max_iters=ITERATIONS, distance_metric="l2", random_seed=0
    )
    return np.asarray(centroids.numpy())


def of_superkmeans(x: np.ndarray, k: int) -> np.ndarray:
    """20 iterations after random seeds, the only ones it offers: a mark for speed only."""
    from superkmeans import SuperKMeans

    kmeans = SuperKMeans(
        k, x.shape[1], hierarchical=False, iters=ITERATIONS, sampling_fraction=1.0, early_termination=False
    )
    return np.asarray(kmeans.train(x), dtype=np.float32)


RIVALS: dict[str, tuple[str, Fit]] = {
    "faiss.Kmeans, k-means++": ("faiss-cpu", of_faiss),
    "superkmeans, random seeds": ("superkmeans", of_superkmeans),
    "scikit-learn, k-means++": ("scikit-learn", of_scikit_learn),
    "pt-kmeans, k-means++": ("pt-kmeans", of_pt_kmeans),
}


def inertia(x: np.ndarray, centroids: np.ndarray) -> float:
    """Sum of squared distances to the nearest centroid, whoever fitted it."""
    _, distances = assign(x, centroids, metric="l2")
    return float(np.square(distances, dtype=np.float64).sum())


def float32_floor(n: int, k: int, dimension: int) -> float:
    """Seconds of one float32 product of all rows with all centroids: the least a plain pass can take."""
    rows, centroids = torch.randn(4096, dimension), torch.randn(k, dimension)
    runs = []
    for _ in range(5):
        began = time.perf_counter()
        torch.mm(rows, centroids.T)
        runs.append(time.perf_counter() - began)
    return min(runs) * n / 4096


def compare(n: int, dimension: int, k: int, pools: list[str], skip: list[str]) -> None:
    """Print one table for each pool."""
    for name in pools:
        x = POOLS[name](n, dimension)
        floor = float32_floor(n, k, dimension)
        print(f"\n{name}: {n:,} x {dimension}, k = {k:,}; one float32 product {floor:.2f} s")
        print(f"{'':28}{'seconds':>9}{'ours / it':>11}{'inertia':>12}{'ours / it':>11}")
        results: dict[str, tuple[float, float]] = {}
        for label, fit in {"curation_assets": ours, **{key: fit for key, (_, fit) in RIVALS.items()}}.items():
            if any(word in label for word in skip):
                continue
            began = time.perf_counter()
            centroids = fit(x, k)
            seconds = time.perf_counter() - began
            results[label] = seconds, inertia(x, centroids)
            mine = results["curation_assets"]
            print(
                f"{label:28}{seconds:9.1f}{mine[0] / seconds:11.3f}{results[label][1]:12.1f}"
                f"{mine[1] / results[label][1]:11.4f}",
                flush=True,
            )


def study() -> None:
    """Print the KL to uniform of three levels without resampling on the paper's 2-D pool, mean of five seeds."""
    for label, fit in (("curation_assets", ours), ("superkmeans, random seeds", of_superkmeans)):
        found = []
        for seed in range(5):
            level = plane_pool(seed)
            for k in (3000, 1000, 300):
                level = fit(level, k)
            found.append(kl_to_uniform(level))
        print(f"{label:28}KL {np.mean(found):.3f}", flush=True)
    print(f"{'the pool itself':28}KL {np.mean([kl_to_uniform(plane_pool(seed)) for seed in range(5)]):.3f}")


def scaling(dimension: int, picture: Path) -> None:
    """Time of a fit of ten iterations against n and against k, with the slopes of the log-log lines."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    ns, ks = [25_000, 50_000, 100_000, 200_000], [250, 500, 1000, 2000]
    fixed_k, fixed_n = 1000, 100_000
    # Loading compiled code takes most of a second, once per process: it is not part of a fit.
    _timed_fit(2000, 300, dimension)
    against_n = [_timed_fit(n, fixed_k, dimension) for n in ns]
    against_k = [_timed_fit(fixed_n, k, dimension) for k in ks]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, values, seconds, label, floors in (
        (
            panels[0],
            ns,
            against_n,
            f"rows n (k = {fixed_k:,})",
            [float32_floor(n, fixed_k, dimension) for n in ns],
        ),
        (
            panels[1],
            ks,
            against_k,
            f"clusters k (n = {fixed_n:,})",
            [float32_floor(fixed_n, k, dimension) for k in ks],
        ),
    ):
        slope = np.polyfit(np.log(values), np.log(seconds), 1)[0]
        print(
            label, [f"{v:,}: {s:.2f} s" for v, s in zip(values, seconds, strict=True)], f"slope {slope:.2f}"
        )
        axes.loglog(values, seconds, "o-", color="#2f5d8a", label=f"seeds + 10 iterations, slope {slope:.2f}")
        axes.loglog(values, [12 * f for f in floors], "--", color="#999999", label="12 float32 products")
        axes.set_xlabel(label)
        axes.set_ylabel("seconds")
        axes.set_xticks(values, [f"{v:,}" for v in values])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    print(f"drawn: {picture}")


def _timed_fit(n: int, k: int, dimension: int) -> float:
    """Seconds of the faster of two fits."""
    x = clustered_pool(n, dimension)
    runs = []
    for _ in range(2):
        began = time.perf_counter()
        ours(x, k, max_iterations=10, tolerance=0.0)
        runs.append(time.perf_counter() - began)
    return min(runs)


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--clusters", type=int, default=2000)
    parser.add_argument("--pools", nargs="*", default=list(POOLS), choices=list(POOLS))
    parser.add_argument(
        "--skip", nargs="*", default=[], help="leave out libraries whose name contains one of these words"
    )
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--picture", type=Path, default=Path("docs/images/kmeans_scaling.png"))
    parser.add_argument("--study", action="store_true")
    chosen = parser.parse_args()
    if chosen.study:
        study()
    elif chosen.scaling:
        scaling(chosen.dimension, chosen.picture)
    else:
        compare(chosen.rows, chosen.dimension, chosen.clusters, chosen.pools, chosen.skip)
    print(describe_machine("torch", "numpy", *(package for package, _ in RIVALS.values())))


if __name__ == "__main__":
    main()
