"""A split level through files: seconds and peak memory of its stages, against one k-means fit per coarse cluster.

.venv/bin/python benchmarks/split_level.py --rows 1000000 --coarse 2000

The alternatives, scikit-learn's KMeans and the package's own fits one by one with rows read from the shards, are
timed on a sample of the coarse clusters and scaled to all of them.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from curation_assets.algorithms import LevelSpec
from curation_assets.algorithms.hierarchy import LevelFitter
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.splitting import BUCKET_BYTES
from curation_assets.steps.tree.split import SplitFit, SplitProgress
from curation_assets.storage.embeddings import ShardedEmbeddings
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.split_work import SplitWork, StoredCoarse
from curation_assets.storage.tables import Embedded

RECIPE = Recipe({}, {}, "1")


def write_pool(storage: PoolStorage, n_rows: int, n_shards: int, dimension: int) -> list[str]:
    """Write unit rows (float16) around long-tailed concepts and sub-concepts; returns the keys of the shards."""
    rng = np.random.default_rng(0)
    n_concepts, n_subs = max(10, n_rows // 700), 40
    concepts = rng.normal(size=(n_concepts, dimension)).astype(np.float32)
    subs = 0.5 * rng.normal(size=(n_subs, dimension)).astype(np.float32)
    shares = 1 / np.arange(20, 20 + n_concepts)
    keys = [f"{number:05}" for number in range(n_shards)]
    for number, key in enumerate(keys):
        n = n_rows // n_shards + (number < n_rows % n_shards)
        block = (
            concepts[rng.choice(n_concepts, n, p=shares / shares.sum())] + subs[rng.integers(0, n_subs, n)]
        )
        block += 0.6 * rng.standard_normal((n, dimension), dtype=np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        with storage.output("embeddings", key).writing(RECIPE) as writer:
            Embedded.vectors.write(writer, block.astype(np.float16))
            writer.summary.update(n_rows=n, dimension=dimension)
    return keys


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print seconds and peak memory (Linux) of the block."""
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    began = time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    print(f"{what:<30}{seconds:9.1f} s   peak {memory('VmHWM'):.2f} GiB, {before:.2f} before", flush=True)


def memory(kind: str) -> float:
    """A figure of /proc/self/status in GiB."""
    return int(Path("/proc/self/status").read_text().split(f"{kind}:")[1].split()[0]) / 2**20


def inertia_of(block: np.ndarray, labels: np.ndarray) -> float:
    """Sum of squared distances to the means of the clusters, whatever centroids were fitted."""
    sums = np.zeros((labels.max() + 1, block.shape[1]))
    np.add.at(sums, labels, block)
    counts = np.maximum(np.bincount(labels), 1)
    return float(np.square(block, dtype=np.float64).sum() - (np.square(sums).sum(axis=1) / counts).sum())


def split_through_files(
    fitter: LevelFitter, inputs: PreparedRows, storage: PoolStorage, work: SplitWork
) -> None:
    """Write the runs, then split; the coarse fit exists already."""
    began, seconds = time.perf_counter(), {"coarse": 0.0, "run": 0.0, "bucket": 0.0}

    def note(piece: SplitProgress) -> None:
        nonlocal began
        seconds[piece.stage] += time.perf_counter() - began
        began = time.perf_counter()

    with measured("runs and splits"), storage.output("level_1_clusters").writing(RECIPE) as writer:
        SplitFit(fitter=fitter, inputs=inputs, work=work, on_split=note).fit(writer)
        k = writer.summary["n_clusters"]
    # The first piece of each stage includes the little that comes before it.
    print(f"  of which runs {seconds['run']:.1f} s, splits {seconds['bucket']:.1f} s; {k:,} clusters")


def one_by_one(
    fitter: LevelFitter, inputs: PreparedRows, coarse: StoredCoarse, sample: np.ndarray, per_cluster: int
) -> None:
    """Time the alternatives on a sample of the coarse clusters."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    warnings.simplefilter("ignore", ConvergenceWarning)
    scale = len(coarse.counts) / len(sample)
    seconds = dict.fromkeys(("taking rows from the shards", "own fits", "scikit-learn"), 0.0)
    inertia = {"own fits": 0.0, "scikit-learn": 0.0}
    for cluster in sample.tolist():
        began = time.perf_counter()
        members = np.flatnonzero(coarse.assignments == cluster)
        block = inputs.take(members)
        k = min(per_cluster, len(members))
        taken = time.perf_counter()
        fit = fitter.fit_cluster(ArrayRows(block), k, cluster)
        fitted = time.perf_counter()
        theirs = KMeans(k, n_init=1, max_iter=fitter.spec.max_iterations, random_state=0).fit(block)
        seconds["taking rows from the shards"] += taken - began
        seconds["own fits"] += fitted - taken
        seconds["scikit-learn"] += time.perf_counter() - fitted
        inertia["own fits"] += inertia_of(block, fit.assignments)
        inertia["scikit-learn"] += inertia_of(block, theirs.labels_)
    for what, spent in seconds.items():
        about = f"   inertia {inertia[what]:.5g}" if what in inertia else ""
        print(
            f"{what}, {len(sample)} of {len(coarse.counts)}: {spent:.2f} s, scaled {scale * spent:.1f} s{about}"
        )


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--coarse", type=int, default=200)
    parser.add_argument("--per-cluster", type=int, default=50)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--coarse-iterations", type=int, default=10)
    parser.add_argument("--bucket-mb", type=int, default=BUCKET_BYTES // 2**20)
    parser.add_argument("--sample", type=int, default=100, help="coarse clusters that the alternatives split")
    parser.add_argument("--folder", default=tempfile.gettempdir())
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="split-level-", dir=args.folder))
    try:
        storage = PoolStorage(str(folder), "pool")
        keys = write_pool(storage, args.rows, args.shards, args.dimension)
        rows = ShardedEmbeddings([storage.output("embeddings", key) for key in keys])
        spec = LevelSpec(n_clusters=args.coarse * args.per_cluster, n_coarse_clusters=args.coarse)
        fitter = LevelFitter(level=1, spec=spec, metric="cosine", seed=0, bucket_bytes=args.bucket_mb * 2**20)
        inputs = PreparedRows(rows, fit_preprocessing(rows, metric="cosine", centring=False))
        work = SplitWork(folder / "work")
        print(f"{args.rows:,} x {args.dimension}, {args.coarse:,} x {args.per_cluster} clusters, ", end="")
        print(f"buckets of {args.bucket_mb} MiB as float32, {torch.get_num_threads()} threads")
        with measured(f"coarse fit, {args.coarse_iterations} iterations"):
            short = replace(fitter, spec=replace(spec, max_iterations=args.coarse_iterations))
            fit = short.fit_coarse(inputs)
            work.save_coarse(fit.centroids, fit.assignments, fit.inertias)
            del fit
        coarse = work.coarse()
        sizes = coarse.counts
        print(f"  rows of a coarse cluster: {sizes.min()} to {sizes.max():,}, median {np.median(sizes):.0f}")
        sample = np.random.default_rng(1).choice(args.coarse, min(args.sample, args.coarse), replace=False)
        coarse = replace(coarse, assignments=np.array(coarse.assignments))
        split_through_files(fitter, inputs, storage, work)
        one_by_one(fitter, inputs, coarse, sample, args.per_cluster)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
