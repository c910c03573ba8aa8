"""Whether a balanced draw beats a random one and flat k-means, on labelled pools (see labelled_pools.py).

.venv/bin/python benchmarks/beats_baselines.py --folder data/labelled_pools --results data/beats_baselines

Each pool is fitted with the planner's levels and the defaults, and a part of it is drawn: at random, evenly from flat
k-means with the clusters of level 1, and from every level; `balance_from="auto"` is one of these. Effective labels and
coverage are those of the draw. Probes learn from a draw of the same size that leaves out a class-balanced held-out
part, which they are tested on. Each fit's figures are a file under --results; a fit that has one is not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from beats_baselines_table import print_tables
from labelled_pools import POOLS, LabelledPool, load_pool

from curation_assets.algorithms import LevelSpec, fit_hierarchy, plan_levels, sample_balanced
from curation_assets.algorithms.measures.labels import effective_labels, label_coverage
from curation_assets.algorithms.measures.probes import (
    balanced_accuracy,
    class_balanced_held_out,
    linear_probe,
    nearest_neighbour_probe,
)
from curation_assets.algorithms.sampling.start_levels import tree_start_level
from curation_assets.algorithms.settings import DEFAULT_EVENNESS
from curation_assets.algorithms.tree import ClusterTree

N_RANDOM, N_RANDOM_PROBED, N_DRAWS, N_PROBED = 100, 10, 20, 5
HELD_OUT, MOST_HELD_OUT = 10, 800
Draw = Callable[[int, np.ndarray | None], np.ndarray]
"""From the number of a draw and the rows that may be drawn (bool; None for all) to row numbers."""


def measure(
    pool: LabelledPool,
    share: float,
    seed: int,
    *,
    levels: list[int],
    steps: int | None,
    evennesses: list[float],
) -> dict[str, object]:
    """Fit once and measure every kind of draw.

    Args:
        pool: with its labels.
        share: of the pool that is drawn, 0 to 1.
        seed: of the fit, the draws and the held-out part.
        levels: clusters of each level; none takes the planner's.
        steps: resampling steps above level 1; None takes the default.
        evennesses: of the draws from levels.

    Returns:
        The clusters of each level, what they scored, the chosen one, and a list of figures: kind, evenness, field,
        measure, and one value a draw.
    """
    n = len(pool.rows)
    size = round(share * n)
    specs = [LevelSpec(n_clusters=k) for k in levels] or plan_levels(n, target_size=size)
    if steps is not None:
        first, *upper = specs
        specs = [first, *(LevelSpec(n_clusters=spec.n_clusters, resampling_steps=steps) for spec in upper)]
    tree = fit_hierarchy(pool.rows, specs, centring=pool.centring, seed=seed)
    choice = tree_start_level(tree, size, seed=seed, rows=pool.rows)
    judge = _Judge(pool, tree.preprocessing.apply(pool.rows), seed)
    flat = ClusterTree(tree.levels[:1], tree.preprocessing, seed)

    def random(number: int, allowed: np.ndarray | None) -> np.ndarray:
        rows = np.arange(n) if allowed is None else np.flatnonzero(allowed)
        return np.random.default_rng([seed, number]).choice(rows, size, replace=False)

    def balanced(
        number: int, allowed: np.ndarray | None, *, of: ClusterTree, level: int, evenness: float
    ) -> np.ndarray:
        weights = None if allowed is None else allowed.astype(np.int64)
        return sample_balanced(
            of, size, balance_from=level, evenness=evenness, weights=weights, seed=1000 * seed + number
        )

    judge.add("random", 0.0, random, n_draws=N_RANDOM, n_probed=N_RANDOM_PROBED, linear=True)
    judge.add("flat k-means", 1.0, partial(balanced, of=flat, level=1, evenness=1.0), linear=True)
    for evenness in evennesses:
        for level in range(1, len(tree.levels) + 1):
            draw = partial(balanced, of=tree, level=level, evenness=evenness)
            is_default = level == choice.level and evenness == DEFAULT_EVENNESS
            judge.add(f"level {level}", evenness, draw, linear=is_default)
    return {
        "n_clusters": [level.n_clusters for level in tree.levels],
        "chosen": choice.level,
        "scores": [
            {name: getattr(score, name) for name in ("vendi", "effective_partition", "noise", "collapsed")}
            for score in choice.scores
        ],
        "figures": judge.figures,
    }


class _Judge:
    """Measures draws by the labels of a pool and keeps the figures."""

    def __init__(self, pool: LabelledPool, prepared: np.ndarray, seed: int) -> None:
        self.figures: list[dict[str, object]] = []
        self._labels, self._prepared = pool.labels, prepared
        self._tests = {field: _held_out(codes, seed) for field, codes in pool.labels.items()}

    def add(
        self,
        kind: str,
        evenness: float,
        draw: Draw,
        *,
        n_draws: int = N_DRAWS,
        n_probed: int = N_PROBED,
        linear: bool,
    ) -> None:
        """Measure some draws of one kind; the linear probe takes longest and is left out where not asked for."""
        draws = [draw(number, None) for number in range(n_draws)]
        for field, codes in self._labels.items():
            n_labels = int(codes.max()) + 1
            allowed = np.ones(len(codes), dtype=bool)
            allowed[self._tests[field]] = False
            learnt = [draw(number, allowed) for number in range(n_probed)]
            found = {
                "effective": [effective_labels(codes[rows], n_labels) for rows in draws],
                "coverage": [label_coverage(codes[rows], n_labels) for rows in draws],
                "neighbour": [self._probe(nearest_neighbour_probe, field, rows) for rows in learnt],
                "linear": [self._probe(linear_probe, field, rows) for rows in learnt if linear],
            }
            for name, values in found.items():
                entry = {"kind": kind, "evenness": evenness, "field": field, "measure": name}
                self.figures.append({**entry, "values": [round(value, 5) for value in values]})

    def _probe(self, probe: Callable[..., np.ndarray], field: str, rows: np.ndarray) -> float:
        codes, test = self._labels[field], self._tests[field]
        return balanced_accuracy(probe(self._prepared[rows], codes[rows], self._prepared[test], codes[test]))


def _held_out(codes: np.ndarray, seed: int) -> np.ndarray:
    rows = class_balanced_held_out(codes, n_per_label=HELD_OUT, seed=seed, max_share=1 / 3)
    return np.random.default_rng(seed).permutation(rows)[:MOST_HELD_OUT]


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the pools' files are kept")
    parser.add_argument("--results", type=Path, required=True, help="where figures are kept, one file a fit")
    parser.add_argument("--icons", type=Path, help="the npm package @iconify/json, unpacked")
    parser.add_argument("--pools", nargs="+", default=list(POOLS), choices=list(POOLS))
    parser.add_argument("--share", type=float, default=0.1, help="of the pool that is drawn")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--levels", type=int, nargs="*", default=[], help="clusters, instead of the plan's")
    parser.add_argument("--steps", type=int, help="resampling steps above level 1, instead of the default")
    parser.add_argument("--evenness", type=float, nargs="+", default=[DEFAULT_EVENNESS])
    parser.add_argument("--seconds", type=float, default=np.inf, help="start no fit after that many")
    parser.add_argument("--no-table", action="store_true", help="print no tables of what is there")
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    start, n_left = time.monotonic(), 0
    settings = {name: getattr(arguments, name) for name in ("share", "levels", "steps", "evenness")}
    tag = "_".join(str(value).replace(" ", "") for value in settings.values())
    for seed in arguments.seeds:
        for name in arguments.pools:
            path = arguments.results / f"{name}_{tag}_{seed}.json"
            if path.exists():
                continue
            if time.monotonic() - start > arguments.seconds:
                n_left += 1
                continue
            began = time.monotonic()
            measured = measure(
                load_pool(name, arguments.folder, arguments.icons),
                arguments.share,
                seed,
                levels=arguments.levels,
                steps=arguments.steps,
                evennesses=arguments.evenness,
            )
            path.write_text(json.dumps({"pool": name, "seed": seed, **settings, **measured}))
            print(f"{path.name}: {time.monotonic() - began:.0f} s", flush=True)
    if n_left:
        print(f"{n_left} fits left")
    if not arguments.no_table:
        print_tables(arguments.results)


if __name__ == "__main__":
    main()
