"""Balance of the emoji demo over five seeds, from its stored embeddings (run `make demo` first).

.venv/bin/python benchmarks/emoji_balance.py
"""

from __future__ import annotations

import numpy as np
import polars as pl

from curation_assets.algorithms import effective_number, fit_hierarchy, sample_balanced
from curation_assets.graph.levels import level_specs
from curation_assets.pools import load_pool_spec
from curation_assets.project import find_home
from curation_assets.storage.pool_storage import PoolStorage


def main() -> None:  # noqa: D103 - see the module
    home = find_home()
    spec = load_pool_spec(home.pools_folder / "emoji.yaml")
    storage = PoolStorage(home.storage_root, spec.name)
    rows = storage.embeddings()
    labels = pl.concat(
        [
            storage.output("raw_pool", shard.key).table("parquet", ["label_subgroup"])
            for shard in storage.shards()
        ]
    )["label_subgroup"]
    codes = labels.rank("dense").to_numpy().astype(int) - 1
    size = rows.n_rows // 10
    balanced, random = [], []
    for seed in range(5):
        tree = fit_hierarchy(
            rows, level_specs(spec, rows.n_rows), centring=spec.preprocessing.centring, seed=seed
        )
        balanced.append(effective_number(np.bincount(codes[sample_balanced(tree, size, seed=seed)])))
        draws = [np.random.default_rng((seed, i)).choice(rows.n_rows, size, replace=False) for i in range(20)]
        random.append(np.mean([effective_number(np.bincount(codes[draw])) for draw in draws]))
        print(f"seed {seed}: {balanced[-1]:.1f} balanced, {random[-1]:.1f} random", flush=True)
    print(
        f"mean: {np.mean(balanced):.1f} balanced, {np.mean(random):.1f} random, "
        f"gain {np.mean(balanced) / np.mean(random) - 1:.0%}"
    )


if __name__ == "__main__":
    main()
