"""Balance of the emoji demo over five seeds, from its stored embeddings (run `make demo` first).

.venv/bin/python benchmarks/emoji_balance.py

Draws a tenth of the drawings at random, evenly from flat k-means with the k of level 1, and from the hierarchy.
Prints the effective number of Unicode subgroups in each draw, for all drawings and for those that deduplication keeps.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from machine import describe_machine

from curation_assets.algorithms import LevelSpec, effective_number, fit_hierarchy, sample_balanced
from curation_assets.algorithms.settings import DEFAULT_EVENNESS
from curation_assets.graph.levels import level_specs
from curation_assets.pools import load_pool_spec
from curation_assets.project import find_home
from curation_assets.storage.pool_storage import PoolStorage

N_SEEDS, N_RANDOM = 5, 20


def compare(rows: np.ndarray, codes: np.ndarray, levels: list[LevelSpec], *, centring: bool) -> None:
    """Print the effective number of labels in each draw, seed by seed, then mean and standard deviation.

    Args:
        rows: float (n, d).
        codes: int64 (n,): label of each row.
        levels: settings of the hierarchy; the flat fit takes the first one's k.
        centring: as in the pool.
    """
    size = round(len(rows) / 10)
    flat = [LevelSpec(n_clusters=levels[0].n_clusters, resampling_steps=0)]

    def effective(drawn: np.ndarray) -> float:
        return effective_number(np.bincount(codes[drawn]))

    figures = []
    for seed in range(N_SEEDS):
        random = np.random.default_rng(seed)
        draws = [effective(random.choice(len(rows), size, replace=False)) for _ in range(N_RANDOM)]
        figures.append([np.mean(draws)])
        for specs, evenness in ((flat, 1.0), (levels, DEFAULT_EVENNESS)):
            tree = fit_hierarchy(rows, specs, centring=centring, seed=seed)
            figures[-1].append(effective(sample_balanced(tree, size, evenness=evenness, seed=seed)))
        print(f"seed {seed}     " + "".join(f"{figure:14.1f}" for figure in figures[-1]), flush=True)
    mean, spread = np.mean(figures, axis=0), np.std(figures, axis=0, ddof=1)
    print("mean       " + "".join(f"{m:7.1f} ± {s:4.1f}" for m, s in zip(mean, spread, strict=True)))
    print("to random  " + "".join(f"{m / mean[0]:14.2f}" for m in mean))


def main() -> None:  # noqa: D103 - see the module
    home = find_home()
    spec = load_pool_spec(home.pools_folder / "emoji.yaml")
    storage = PoolStorage(home.storage_root, spec.name)
    shards = [shard.key for shard in storage.shards()]
    tables = [storage.raw_pool(key).samples.column("label_subgroup") for key in shards]
    codes = pl.concat(tables).rank("dense").to_numpy().astype(np.int64) - 1
    starts = np.cumsum([0, *(len(table) for table in tables)])
    kept = [start + storage.admitted(key).kept.read() for key, start in zip(shards, starts, strict=False)]
    embedded = storage.embeddings()
    rows = embedded.read(0, embedded.n_rows)
    for title, chosen in (
        ("all drawings", np.arange(len(rows))),
        ("after deduplication", np.concatenate(kept)),
    ):
        print(f"\n{title}: {len(chosen):,} rows, a tenth of them drawn")
        print(f"{'':11}{'random':>14}{'flat k-means':>14}{'hierarchy':>14}")
        levels = level_specs(spec, len(chosen))
        compare(rows[chosen], codes[chosen], levels, centring=spec.preprocessing.centring)
    print(describe_machine("torch", "numpy"))


if __name__ == "__main__":
    main()
