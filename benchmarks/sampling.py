"""Quotas of 10 M level-1 clusters by evenness, and draws from 1 M of them and 20 M rows, by rows and by tokens.

.venv/bin/python benchmarks/sampling.py [share of that size, default 1]
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from curation_assets.algorithms import sample_balanced
from curation_assets.algorithms.preprocessing import Preprocessing
from curation_assets.algorithms.sampling.balanced import plan_quotas
from curation_assets.algorithms.settings import Strategy
from curation_assets.algorithms.tree import ClusterTree, Level

STRATEGIES: tuple[Strategy, ...] = ("random", "closest")


def synthetic_tree(n_rows: int, n_clusters: list[int], seed: int = 0) -> ClusterTree:
    """A tree with long-tailed level-1 clusters. Sampling does not use centroids."""
    rng = np.random.default_rng(seed)
    levels, n_inputs = [], n_rows
    for t, k in enumerate(n_clusters):
        skew = 3.0 if t == 0 else 1.5
        assignments = (k * rng.random(n_inputs) ** skew).astype(np.int64)
        levels.append(Level(np.zeros((k, 1), np.float32), assignments, rng.random(n_inputs, np.float32), ()))
        n_inputs = k
    return ClusterTree(tuple(levels), Preprocessing("cosine", None, 2.0**-24), 0)


def token_counts(n_rows: int, seed: int = 1) -> np.ndarray:
    """Lengths of web texts, uint32 (n_rows,): log-normal, half of them below 200 tokens, some above 10,000."""
    rng = np.random.default_rng(seed)
    return np.maximum(rng.lognormal(np.log(200), 1.2, n_rows), 1).astype(np.uint32)


def peak_memory() -> str:
    """Peak memory of this process so far."""
    return f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB"


def time_plans(share: float, n_rounds: int = 3) -> None:
    """Print the fastest of some plans of each rule, beside that of equal shares from the top."""
    rng = np.random.default_rng(0)
    n_clusters = [int(share * n) for n in (10_000_000, 500_000, 50_000, 10_000)]
    sizes = np.bincount((n_clusters[0] * rng.random(5 * n_clusters[0]) ** 3).astype(np.int64))
    parents = [(n_clusters[t + 1] * rng.random(n_clusters[t]) ** 1.5).astype(np.int64) for t in range(3)]
    sizes = np.append(sizes, np.zeros(n_clusters[0] - len(sizes), np.int64))
    rules = [(1.0, 4), (0.75, 4), (0.7, 4), (0.5, 4), (0.0, 4), (1.0, 1), (0.75, 1)]
    seconds = dict.fromkeys(rules, np.inf)
    # Rounds take turns, so that other work on the machine slows all of them down alike.
    for _ in range(n_rounds):
        for evenness, level in rules:
            began = time.perf_counter()
            plan = plan_quotas(
                sizes, parents, int(sizes.sum()) // 10, seed=0, balance_from=level, evenness=evenness
            )
            seconds[evenness, level] = min(seconds[evenness, level], time.perf_counter() - began)
            assert plan.quotas[0].sum() == sizes.sum() // 10
    print(f"quotas of {n_clusters[0]:,} level-1 clusters")
    for (evenness, level), took in seconds.items():
        print(
            f"evenness {evenness:<5} from level {level}{took:6.2f} s, {took / seconds[rules[0]]:.2f} of the first"
        )
    print(peak_memory())


def main() -> None:  # noqa: D103 - see the module
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    time_plans(share)
    n_rows, *n_clusters = [int(share * n) for n in (20_000_000, 1_000_000, 50_000, 5_000, 1_000)]
    tree = synthetic_tree(n_rows, n_clusters)
    print(f"before a draw: {peak_memory()}")
    for strategy in STRATEGIES:
        began = time.perf_counter()
        rows = sample_balanced(tree, n_rows // 10, balance_from=4, strategy=strategy, seed=0)
        print(f"{strategy:<8} {time.perf_counter() - began:6.1f} s for {len(rows):,} of {n_rows:,} rows")
    print(peak_memory())
    weights = token_counts(n_rows)
    budget = int(weights.sum()) // 10
    for strategy in STRATEGIES:
        began = time.perf_counter()
        rows = sample_balanced(tree, budget, balance_from=4, weights=weights, strategy=strategy, seed=0)
        seconds, total = time.perf_counter() - began, int(weights[rows].sum())
        print(
            f"{strategy:<8} {seconds:6.1f} s for {total:,} of {int(weights.sum()):,} tokens in {len(rows):,} rows, "
            f"{budget - total} below the budget"
        )
    print(peak_memory())


if __name__ == "__main__":
    main()
