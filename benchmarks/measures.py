"""Time of the measures of subsets, on made pools of two shapes.

.venv/bin/python benchmarks/measures.py

Prints seconds of fitting a yardstick, of the two measures that choose a start level, of all four on rows of the sample
(the first time, which finds its neighbours, and later) and on other rows, and of both probes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from machine import describe_machine

from curation_assets.algorithms.measures.probes import linear_probe, nearest_neighbour_probe
from curation_assets.algorithms.measures.yardstick import DIVERSITY, Yardstick

N_KINDS, N_REPEATS = 100, 3


def seconds(call: Callable[[], Any], repeats: int = N_REPEATS) -> float:
    """The shortest time of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(n_rows: int, dimension: int, subset_size: int) -> None:
    """Print the times on one pool."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, N_KINDS, n_rows)
    kinds = rng.normal(size=(N_KINDS, dimension))
    pool = (kinds[codes] + rng.normal(size=(n_rows, dimension))).astype(np.float32)
    yardstick = Yardstick.fit(pool, metric="cosine", seed=0)
    chosen = rng.choice(n_rows, subset_size, replace=False)
    held_out = np.setdiff1d(np.arange(n_rows), chosen)[:2000]
    known, other = pool[chosen], pool[chosen] + np.float32(1e-4)
    parts = (pool[chosen], codes[chosen], pool[held_out], codes[held_out])
    linear_probe(*parts)
    times = {
        "fit": seconds(lambda: Yardstick.fit(pool, metric="cosine", seed=0), 1),
        "start level": seconds(lambda: yardstick.measure(known, DIVERSITY)),
        "all, first": seconds(lambda: yardstick.measure(known), 1),
        "all, later": seconds(lambda: yardstick.measure(known)),
        "all, other rows": seconds(lambda: yardstick.measure(other)),
        "nearest neighbour": seconds(lambda: nearest_neighbour_probe(*parts)),
        "linear": seconds(lambda: linear_probe(*parts)),
    }
    print(f"\n{n_rows:,} x {dimension:,}, subset of {subset_size:,} rows")
    for name, value in times.items():
        print(f"  {name:18}{value:8.3f} s")


def main() -> None:  # noqa: D103 - see the module
    for shape in ((3_792, 1_280, 379), (3_792, 1_280, 3_000), (20_000, 384, 2_000)):
        measure(*shape)
    print(describe_machine("torch", "numpy", "scikit-learn"))


if __name__ == "__main__":
    main()
