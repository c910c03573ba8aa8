"""Subsets of equal size that the pre-training benchmarks compare, their results on disk, and the final table.

| subset | rule |
|---|---|
| random | uniform |
| random again | another uniform draw, trained from the same initial weights: its ratio to the first is noise |
| flat k-means | one level with the k of level 1, equal shares |
| paper's rule | all levels resampled in 10 steps, shares equal from the top level down (evenness 1) |
| ours | the defaults: level 1 not resampled, start level chosen without labels, evenness 0.75 |

All trees have the numbers of clusters that `plan_levels` gives for the pool and the target.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from curation_assets.algorithms import LevelSpec, fit_hierarchy, plan_levels, sample_balanced
from curation_assets.algorithms.duplicates.deduplication import State, remove_near_duplicates
from curation_assets.algorithms.preprocessing import fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.sampling.start_levels import tree_start_level

SUBSETS = ("random", "random again", "flat k-means", "paper's rule", "ours")


def add_options(parser: argparse.ArgumentParser, steps: int) -> None:
    """The options of a training that all these benchmarks have."""
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--subsets", nargs="+", choices=SUBSETS, default=SUBSETS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def different_rows(embeddings: np.ndarray, threshold: float, *, centring: bool) -> np.ndarray:
    """Rows that deduplication keeps: all are compared with all, and the first of a group stays."""
    preprocessing = fit_preprocessing(ArrayRows(embeddings), metric="cosine", centring=centring)
    n = len(embeddings)
    states = np.full(n, State.OPEN, dtype=np.int8)
    one_cluster = np.zeros((n, 1), dtype=np.int32)
    prepared = ArrayRows(preprocessing.apply(embeddings))
    remove_near_duplicates(prepared, one_cluster, states, np.arange(n), threshold=threshold)
    return np.flatnonzero(states == State.KEPT)


def plan(n_rows: int, target_size: int, weights: np.ndarray | None = None) -> list[LevelSpec]:
    """Levels of all trees, from the planner; a target in weight counts as that many rows of mean weight."""
    mean_weight = 1.0 if weights is None else float(weights.mean())
    return plan_levels(n_rows, target_size=round(target_size / mean_weight))


def draw_subset(
    name: str,
    embeddings: np.ndarray,
    target_size: int,
    levels: list[LevelSpec],
    *,
    centring: bool,
    seed: int,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Rows of one of `SUBSETS`, int64, ascending.

    Args:
        name: of the subset.
        embeddings: float32 (n, d).
        target_size: rows, or weight where `weights` are given.
        levels: see `plan`.
        centring: as in the pool's YAML.
        seed: of tree and draw.
        weights: int64 (n,): tokens of each row.
    """
    if name in ("random", "random again"):
        number = SUBSETS.index(name)
        return _draw_random(len(embeddings), target_size, seed + 1000 * number, weights)
    if name == "flat k-means":
        levels = [replace(levels[0], resampling_steps=0)]
    elif name == "paper's rule":
        levels = [replace(level, resampling_steps=10) for level in levels]
    else:
        levels = [replace(levels[0], resampling_steps=0), *levels[1:]]
    tree = fit_hierarchy(embeddings, levels, metric="cosine", centring=centring, seed=seed)
    start, evenness = len(levels), 1.0
    if name == "ours":
        # What `balance_from="auto"` does, with the level shown.
        start, evenness = tree_start_level(tree, target_size, weights=weights, seed=seed).level, 0.75
        print(f"seed {seed}, {name}: shares from level {start}", flush=True)
    return sample_balanced(
        tree, target_size, balance_from=start, evenness=evenness, weights=weights, seed=seed
    )


def _draw_random(n: int, target_size: int, seed: int, weights: np.ndarray | None) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(n)
    if weights is None:
        return np.sort(order[:target_size])
    return np.sort(order[np.cumsum(weights[order]) <= target_size])


class ResultFile:
    """JSON lines, one per finished training run; a run with the same settings, subset and seed is not repeated."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        self._settings = settings
        path.parent.mkdir(parents=True, exist_ok=True)

    def runs(self) -> list[dict[str, Any]]:
        """Finished runs with these settings, read anew: several processes may share the file."""
        if not self._path.exists():
            return []
        lines = self._path.read_text(encoding="utf-8").splitlines()
        known = [json.loads(line) for line in lines if line.endswith("}")]
        return [run for run in known if run["settings"] == self._settings]

    def has(self, subset: str, seed: int) -> bool:
        """Whether this run is finished."""
        return any(run["subset"] == subset and run["seed"] == seed for run in self.runs())

    def add(self, subset: str, seed: int, figures: dict[str, float], about: dict[str, Any]) -> None:
        """Append a run and print it."""
        run = {"subset": subset, "seed": seed, "figures": figures, "about": about, "settings": self._settings}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")
        shown = ", ".join(f"{name} {figure:.4g}" for name, figure in figures.items())
        print(f"seed {seed}, {subset}: {shown}; {about}", flush=True)

    def print_table(self, subsets: tuple[str, ...] = SUBSETS) -> None:
        """Mean and standard deviation over seeds; ratio to random: mean, least and largest of the seeds' ratios."""
        figures = {(run["subset"], run["seed"]): run["figures"] for run in self.runs()}
        names = list(dict.fromkeys(name for run in figures.values() for name in run))
        for name in names:
            print(
                f"\n{name:24}{'mean':>10}{'spread':>10}{'to random':>12}{'least':>8}{'most':>8}{'seeds':>7}"
            )
            for subset in subsets:
                seeds = [seed for other, seed in figures if other == subset and name in figures[subset, seed]]
                if not seeds:
                    continue
                values = np.array([figures[subset, seed][name] for seed in seeds])
                spread = values.std(ddof=1) if len(values) > 1 else float("nan")
                line = f"{subset:24}{values.mean():10.4g}{spread:10.2g}"
                paired = [seed for seed in seeds if name in figures.get(("random", seed), {})]
                if paired:
                    ratios = np.array([figures[subset, s][name] / figures["random", s][name] for s in paired])
                    line += f"{ratios.mean():12.3f}{ratios.min():8.3f}{ratios.max():8.3f}"
                print(f"{line}{len(seeds):7}")
