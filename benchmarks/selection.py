"""Sampling at size: 100 M rows in 1,000 shards, 10 M level-1 clusters under 500 k, 50 k and 10 k.

.venv/bin/python benchmarks/selection.py [--share 1] [--parts draw,step] [--folder /tmp/selection]

Part `draw` draws 10 M rows, and then a tenth of the pool's tokens, from arrays. At a tenth of the size or less it
also draws by one `np.lexsort` of all rows and compares. Part `step` generates the inputs of the step `selection`
(1.9 GB at full size), runs the step, and reads the parts of some shards from its output. Every measured run is a
process of its own and prints its peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from curation_assets.algorithms import sample_balanced
from curation_assets.algorithms.preprocessing import Preprocessing
from curation_assets.algorithms.randomness import Purpose, keyed_priorities
from curation_assets.algorithms.resampling import rank_in_group
from curation_assets.algorithms.sampling.balanced import plan_quotas
from curation_assets.algorithms.tree import ClusterTree, Level
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.steps.context import PoolAccess, StepContext
from curation_assets.steps.dataset.selection import select
from curation_assets.storage.outputs import Facts, Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard

N_ROWS, SHARD_ROWS = 100_000_000, 100_000
N_CLUSTERS = (10_000_000, 500_000, 50_000, 10_000)
DRAWS = ("random", "closest", "random tokens", "closest tokens")
REPEATED = 100
"""Rows of a shard whose sample id its neighbour has too."""
SHARDS_READ = 20


def clusters_of(n_rows: int, n_clusters: int, rng: np.random.Generator, names: np.ndarray) -> np.ndarray:
    """Level-1 clusters, int64 (n_rows,): Zipf's law with exponent 0.8; a tenth of the clusters stays empty."""
    return names[(n_clusters * rng.random(n_rows) ** 5).astype(np.int64)]


def tree_of(share: float) -> tuple[list[int], np.ndarray, list[np.ndarray]]:
    """Clusters of every level, the level-1 clusters in an order of their own, and the parents."""
    rng = np.random.default_rng(0)
    sizes = [max(2, round(share * k)) for k in N_CLUSTERS]
    parents = [(above * rng.random(below) ** 1.5).astype(np.int64) for below, above in pairwise(sizes)]
    for parent, above in zip(parents, sizes[1:], strict=True):
        parent[-1] = above - 1
    return sizes, rng.permutation(sizes[0]), parents


def lengths(n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Token counts like those of web texts, uint32 (n_rows,): log-normal, half below 200, some above 10,000."""
    return np.maximum(rng.lognormal(np.log(200), 1.2, n_rows), 1).astype(np.uint32)


def peak_memory() -> str:
    """Peak memory of this process so far."""
    return f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:5.2f} GiB"


def measure_draw(share: float, kind: str) -> None:
    """Draw a tenth of the rows or tokens from a tree in memory."""
    strategy, tokens = kind.split()[0], kind.endswith("tokens")
    sizes, names, parents = tree_of(share)
    rng = np.random.default_rng(1)
    n_rows = round(share * N_ROWS)
    clusters = np.empty(n_rows, dtype=np.int32)
    distances = rng.random(n_rows, np.float32)
    weights = np.empty(n_rows, dtype=np.uint32) if tokens else None
    for start in range(0, n_rows, SHARD_ROWS):
        part = slice(start, min(start + SHARD_ROWS, n_rows))
        clusters[part] = clusters_of(part.stop - start, sizes[0], rng, names)
        if weights is not None:
            weights[part] = lengths(part.stop - start, rng)
    levels = [Level(np.zeros((sizes[0], 1), np.float32), clusters, distances, ())]
    levels += [
        Level(np.zeros((k, 1), np.float32), p, np.zeros(0, np.float32), ())
        for k, p in zip(sizes[1:], parents, strict=True)
    ]
    tree = ClusterTree(tuple(levels), Preprocessing("cosine", None, 2.0**-24), 0)
    target = n_rows // 10 if weights is None else int(weights.sum(dtype=np.int64)) // 10
    before = peak_memory()
    began = time.perf_counter()
    rows = sample_balanced(
        tree,
        target,
        balance_from=len(levels),
        evenness=1,
        weights=weights,
        strategy=strategy,  # type: ignore[arg-type]
        seed=0,
    )
    seconds = time.perf_counter() - began
    drawn = len(rows) if weights is None else int(weights[rows].sum(dtype=np.int64))
    twice = len(rows) - len(np.unique(rows))
    print(
        f"{kind:<16}{seconds:6.1f} s, {peak_memory()} ({before} with the arrays alone): {len(rows):,} of {n_rows:,} "
        f"rows, {target - drawn} below the target, {twice} twice"
    )
    if share <= 0.1 and weights is None:
        began = time.perf_counter()
        same = np.array_equal(naive_draw(tree, target, strategy), rows)
        seconds = time.perf_counter() - began
        print(f"{'  by lexsort':<16}{seconds:6.1f} s, {'the same' if same else 'OTHER'} rows")


def naive_draw(tree: ClusterTree, size: int, strategy: str) -> np.ndarray:
    """The same draw by one sort of all rows."""
    clusters = tree.levels[0].assignments
    n_clusters = tree.levels[0].n_clusters
    priorities = (
        keyed_priorities(np.arange(len(clusters)), 0, Purpose.DRAW)
        if strategy == "random"
        else tree.levels[0].distances
    )
    counts = np.bincount(clusters, minlength=n_clusters)
    quotas = plan_quotas(counts, tree.parents(), size, seed=0).quotas[0]
    order = np.lexsort((priorities, clusters))
    return np.sort(order[rank_in_group(counts) < np.repeat(quotas, counts)])


def spec_of(share: float) -> PoolSpec:
    """A pool of embeddings with a target of a tenth of its rows."""
    n_clusters = tree_of(share)[0]
    # There are no embeddings to choose a level by.
    target = {
        "name": "tenth",
        "size": round(share * N_ROWS) // 10,
        "balance_from": f"level_{len(n_clusters)}",
    }
    return PoolSpec.model_validate(
        {
            "name": "selection",
            "source": {"format": "embeddings", "path": "raw", "dimension": 1, "encoder": "none"},
            "levels": [{"n_clusters": k} for k in n_clusters],
            "targets": [target],
        }
    )


def generate(folder: Path, share: float) -> None:
    """Write the inputs of the step straight to disk."""
    storage = PoolStorage(str(folder), "selection")
    sizes, names, parents = tree_of(share)
    for level, size in enumerate(sizes, start=1):
        output = storage.output(f"level_{level}_clusters")
        Path(str(output.folder)).mkdir(parents=True)
        np.save(str(output.path("centroids.npy")), np.zeros((size, 1), np.float32))
        if level > 1:
            np.save(str(output.path("assignments.npy")), parents[level - 2])
    keys = [f"shard-{number:05}" for number in range(round(share * N_ROWS) // SHARD_ROWS)]
    storage.save_shards([Shard(key, ()) for key in keys])
    for name in ("embeddings", "level_1_assign"):
        Path(str(storage.output(name).folder)).mkdir()
    facts = Facts("", "", {}, {}, "1", {}, {"n_rows": SHARD_ROWS, "dimension": 1, "encoder": {}})
    for number, key in enumerate(keys):
        rng = np.random.default_rng([2, number])
        embeddings, assigned = storage.output("embeddings", key), storage.output("level_1_assign", key)
        pl.DataFrame(
            {
                "cluster": clusters_of(SHARD_ROWS, sizes[0], rng, names),
                "distance": rng.random(SHARD_ROWS, np.float32),
            }
        ).write_parquet(str(assigned.path("parquet")), compression="zstd")
        hashes = rng.integers(0, 2**64, SHARD_ROWS, dtype=np.uint64)
        shared = np.arange(REPEATED) + number // 2 * REPEATED
        hashes[:REPEATED] = keyed_priorities(shared, 3, Purpose.DRAW)
        ids = pl.select(
            pl.when(pl.int_range(SHARD_ROWS) < REPEATED)
            .then(pl.format("shared-{}", pl.int_range(SHARD_ROWS) + number // 2 * REPEATED))
            .otherwise(pl.format("{}/{}", pl.lit(key), pl.int_range(SHARD_ROWS)))
            .alias("sample_id")
        )
        ids.with_columns(
            pl.Series("raw_row", np.arange(SHARD_ROWS, dtype=np.uint32)), pl.Series("id_hash", hashes)
        ).select("raw_row", "sample_id", "id_hash").write_parquet(
            str(embeddings.path("rows.parquet")), compression="zstd"
        )
        for output in (embeddings, assigned):
            output.path("facts.json").write_text(json.dumps(asdict(facts)))


def measure_step(folder: Path, share: float) -> None:
    """Run the step `selection` once."""
    storage = PoolStorage(str(folder), "selection")
    began = time.perf_counter()
    spec = spec_of(share)
    with storage.output("selection").writing(Recipe({}, {}, "1")) as writer:
        select(StepContext(PoolAccess(spec, storage), pool_steps(spec)["selection"], writer))
    seconds = time.perf_counter() - began
    facts = storage.output("selection").require_facts()
    print(
        f"{'step selection':<16}{seconds:6.1f} s, {peak_memory()}: {facts.summary['targets']['tenth']:,} rows of "
        f"{facts.summary['n_rows']:,}, {facts.summary['n_duplicate_ids']:,} repeated ids, {facts.digest}"
    )


def measure_parts(folder: Path) -> None:
    """Read the parts of some shards from the selection."""
    storage = PoolStorage(str(folder), "selection")
    shards = [shard.key for shard in storage.shards()]
    read = shards[:: max(1, len(shards) // SHARDS_READ)]
    for words, every in (("a shard of it", False), ("  by filtering", True)):
        n_rows = 0
        began = time.perf_counter()
        for shard in read[: 3 if every else None]:
            if every:
                table = storage.selection().selected.read().filter(pl.col("shard") == shard)
            else:
                table = storage.selection().selected.part("shard", shard)
            n_rows += table.height
        seconds = (time.perf_counter() - began) / len(read[: 3 if every else None])
        print(f"{words:<16}{seconds:6.3f} s, {peak_memory()}: {n_rows:,} rows")


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--parts", default="draw,step")
    parser.add_argument("--folder", type=Path, help="for the generated outputs; default: a temporary folder")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        runs = {
            "generate": lambda: generate(given.folder, given.share),
            "step": lambda: measure_step(given.folder, given.share),
            "parts": lambda: measure_parts(given.folder),
        }
        runs.get(given.run, lambda: measure_draw(given.share, given.run))()
        return
    folder = given.folder or Path(tempfile.mkdtemp(prefix="selection-"))
    parts = given.parts.split(",")
    runs_to_do = [
        *(DRAWS if "draw" in parts else ()),
        *(("generate", "step", "parts") if "step" in parts else ()),
    ]
    try:
        for run in runs_to_do:
            command = [
                sys.executable,
                __file__,
                "--run",
                run,
                "--share",
                str(given.share),
                "--folder",
                str(folder),
            ]
            subprocess.run(command, check=True)
    finally:
        if "step" in parts:
            shutil.rmtree(folder if given.folder is None else folder / "selection")


if __name__ == "__main__":
    main()
