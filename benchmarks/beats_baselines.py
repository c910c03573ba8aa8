"""Whether a balanced draw beats a random one and flat k-means, on labelled pools (see labelled_pools.py).

.venv/bin/python benchmarks/beats_baselines.py --folder data/labelled_pools

Each pool is fitted with the planner's levels and the defaults, and a tenth is drawn: at random, evenly from flat
k-means with the clusters of level 1, from every level, and with `balance_from="auto"`. Effective labels and coverage
are those of the draw; probes learn from it and are tested on a class-balanced held-out part. The last column divides
effective labels by the better baseline's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from curation_assets.algorithms.measures.labels import effective_labels, label_coverage
from curation_assets.algorithms.measures.probes import (
    balanced_accuracy,
    class_balanced_held_out,
    linear_probe,
    nearest_neighbour_probe,
)
from labelled_pools import POOLS, LabelledPool, load_pool
from machine import describe_machine

from curation_assets.algorithms import LevelSpec, fit_hierarchy, plan_levels, sample_balanced
from curation_assets.algorithms.tree import ClusterTree

N_RANDOM, N_RANDOM_PROBED, N_DRAWS = 20, 6, 3
HELD_OUT, MOST_HELD_OUT = 10, 800
Figures = dict[str, dict[str, list[np.ndarray]]]


def judge(
    pool: LabelledPool, field: str, prepared: np.ndarray, rows: np.ndarray, test: np.ndarray, *, probed: bool
) -> list[float]:
    """Effective labels, share of labels covered, and accuracies of both probes (NaN unless probed).

    Args:
        pool: with the labels.
        field: of the labels.
        prepared: float32 (n, d), of unit length.
        rows: int64 (m,): the draw.
        test: int64: held-out rows, which no probe learns from.
        probed: whether probes are trained.
    """
    codes = pool.labels[field]
    n_labels = int(codes.max()) + 1
    counted = [effective_labels(codes[rows], n_labels), label_coverage(codes[rows], n_labels)]
    if not probed:
        return [*counted, np.nan, np.nan]
    learnt = np.setdiff1d(rows, test)
    sides = (prepared[learnt], codes[learnt], prepared[test], codes[test])
    return counted + [balanced_accuracy(probe(*sides)) for probe in (nearest_neighbour_probe, linear_probe)]


def measure(
    pool: LabelledPool,
    prepared: np.ndarray,
    share: float,
    seed: int,
    levels: list[LevelSpec] | None,
    figures: Figures,
) -> None:
    """Fit once and append the mean figures of every kind of draw, by field and kind."""
    n, size = len(pool.rows), round(share * len(pool.rows))
    random = np.random.default_rng([seed, 0])
    tests = {
        field: np.sort(
            random.permutation(
                class_balanced_held_out(codes, n_per_label=HELD_OUT, seed=seed, max_share=1 / 3)
            )[:MOST_HELD_OUT]
        )
        for field, codes in pool.labels.items()
    }
    tree = fit_hierarchy(
        pool.rows, levels or plan_levels(n, target_size=size), centring=pool.centring, seed=seed
    )
    flat = ClusterTree(tree.levels[:1], tree.preprocessing, seed)
    kinds: dict[str, Callable[[int], np.ndarray]] = {
        "random": lambda draw: np.random.default_rng([seed, 1, draw]).choice(n, size, replace=False),
        "flat k-means": lambda draw: sample_balanced(
            flat, size, balance_from=1, evenness=1.0, seed=100 * seed + draw
        ),
    }
    for level in range(1, len(tree.levels) + 1):
        kinds[f"level {level}"] = lambda draw, level=level: sample_balanced(
            tree, size, balance_from=level, seed=100 * seed + draw
        )
    kinds["auto"] = lambda draw: sample_balanced(tree, size, rows=pool.rows, seed=100 * seed + draw)
    for kind, draw_rows in kinds.items():
        n_draws = N_RANDOM if kind == "random" else N_DRAWS
        draws = [draw_rows(draw) for draw in range(n_draws)]
        for field in pool.labels:
            found = [
                judge(pool, field, prepared, rows, tests[field], probed=i < N_RANDOM_PROBED)
                for i, rows in enumerate(draws)
            ]
            figures.setdefault(field, {}).setdefault(kind, []).append(np.nanmean(found, axis=0))


def report(name: str, field: str, by_kind: dict[str, list[np.ndarray]]) -> None:
    """Print a table of means over seeds, and how auto fares."""
    means = {kind: np.mean(found, axis=0) for kind, found in by_kind.items()}
    best = max(means["random"][0], means["flat k-means"][0])
    columns = (
        f"{'effective':>11}{'coverage':>10}{'neighbour':>11}{'linear':>8}{'to random':>11}{'to best':>9}"
    )
    print(f"\n{name}, {field}\n{'':14}{columns}")
    for kind, (effective, coverage, neighbour, linear) in means.items():
        print(
            f"{kind:14}{effective:11.1f}{coverage:10.3f}{neighbour:11.3f}{linear:8.3f}"
            f"{effective / means['random'][0]:11.2f}{effective / best:9.2f}"
        )


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the pools' files are kept")
    parser.add_argument("--icons", type=Path, help="the npm package @iconify/json, unpacked")
    parser.add_argument("--pools", nargs="+", default=list(POOLS), choices=list(POOLS))
    parser.add_argument("--share", type=float, default=0.1, help="of the pool that is drawn")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--levels", type=int, nargs="+", help="clusters of each level instead of the plan's")
    arguments = parser.parse_args()
    levels = [LevelSpec(n_clusters=k) for k in arguments.levels or ()] or None
    for name in arguments.pools:
        pool = load_pool(name, arguments.folder, arguments.icons)
        centred = pool.rows - pool.rows.mean(axis=0) if pool.centring else pool.rows
        prepared = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        figures: Figures = {}
        for seed in range(arguments.seeds):
            measure(pool, prepared, arguments.share, seed, levels, figures)
        for field, by_kind in figures.items():
            report(name, field, by_kind)
    print(describe_machine("torch", "numpy"))


if __name__ == "__main__":
    main()
