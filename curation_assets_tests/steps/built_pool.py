"""A pool of texts whose outputs up to the tree are written as given: for draws and ledgers worked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curation_assets.pools import PoolSpec
from curation_assets.steps.ingest.raw_pool import hash_id
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import Admitted, EvaluationSets, RawPool
from curation_assets_tests.steps.making import make

RECIPE = Recipe({}, {}, "1")


@dataclass(frozen=True)
class Text:
    """One row of the raw pool."""

    sample_id: str
    cluster: int = 0
    n_tokens: int = 1
    reason: str | None = None
    """Why it was rejected before it was embedded."""
    twin: tuple[str, str, str, str, float] | None = None
    """Fate, kind, set, id and similarity of what excluded it."""
    vector: tuple[float, ...] = (1.0, 0.0)


class BuiltPool:
    """Shards of given texts under a given tree.

    Args:
        folder: gets the outputs.
        texts: of each shard.
        parents: per level but the top, the cluster of the level above.
        n_clusters: of level 1.
        settings: of the pool; the targets at least. Those that name no level have equal shares from the top, which can
            be worked by hand.
    """

    def __init__(
        self,
        folder: Path,
        texts: Mapping[str, Sequence[Text]],
        *,
        n_clusters: int,
        parents: Sequence[Sequence[int]] = (),
        **settings: Any,
    ) -> None:
        by_hand = {"balance_from": f"level_{len(parents) + 1}", "evenness": 1.0}
        settings["targets"] = [
            target if "balance_from" in target else by_hand | target for target in settings["targets"]
        ]
        self.spec = PoolSpec.model_validate(
            {
                "name": "texts",
                "source": {"format": "jsonl", "path": "raw"},
                "encoder": {"kind": "sentence_transformers", "model": "none"},
                "levels": [{} for _ in range(len(parents) + 1)],
                **settings,
            }
        )
        self.storage = PoolStorage(str(folder), "texts")
        self.storage.save_shards([Shard(key, ()) for key in texts])
        sizes = [n_clusters, *(max(parent) + 1 for parent in parents)]
        for level, size in enumerate(sizes, start=1):
            with self.storage.output(f"level_{level}_clusters").writing(RECIPE) as writer:
                writer.array("centroids.npy", np.zeros((size, 1), np.float32))
                writer.summary.update(metric="cosine", grid_step=2.0**-24)
                if level > 1:
                    writer.array("assignments.npy", np.array(parents[level - 2]))
        for key, rows in texts.items():
            self._write_rows(key, rows, [np.array(parent) for parent in parents])
        if self.spec.decontamination:
            self._write_evaluation_set(self.spec.decontamination.evaluation_sets[0].name)

    def _write_evaluation_set(self, name: str) -> None:
        """One sample at a right angle to every row of the pool: what is excluded is given, not found."""
        sample = {"set": name, "sample_id": "question", "embedding_row": 0}
        with self.storage.output("evaluation_sets").writing(RECIPE) as writer:
            writer.table("samples.parquet", pl.DataFrame([sample], schema=EvaluationSets.samples.schema))
            writer.array("embeddings.npy", np.array([[0, 1]], np.float16))
            writer.array("signatures.npy", np.empty((0, 192), np.uint8))
            writer.summary["encoder"] = {}

    def _write_rows(self, shard: str, texts: Sequence[Text], parents: list[np.ndarray]) -> None:
        kept = [(row, text) for row, text in enumerate(texts) if text.reason is None]
        with self.storage.raw_pool(shard).writing(RECIPE) as writer:
            rows = [
                {"sample_id": text.sample_id, "id_hash": hash_id(text.sample_id), "file": f"{shard}.jsonl",
                 "member": f"row {row}", "offset": row, "reason": text.reason, "size_bytes": 4 * text.n_tokens,
                 "detail": text.reason and "as given"}
                for row, text in enumerate(texts)
            ]  # fmt: skip
            writer.table("parquet", pl.DataFrame(rows, schema=RawPool.samples.schema))
            writer.summary.update(n_rows=len(texts), n_rejected=len(texts) - len(kept))
        with self.storage.output("embeddings", shard).writing(RECIPE) as writer:
            raw_rows = pl.Series([row for row, _ in kept], dtype=pl.UInt32)
            ids = [text.sample_id for _, text in kept]
            hashes = pl.Series([hash_id(sample_id) for sample_id in ids], dtype=pl.UInt64)
            writer.table(
                "rows.parquet", pl.DataFrame({"raw_row": raw_rows, "sample_id": ids, "id_hash": hashes})
            )
            vectors = np.array([text.vector for _, text in kept], np.float16).reshape(len(kept), -1)
            writer.array("npy", vectors)
            rejected = {"raw_row": pl.Int64, "reason": pl.String, "detail": pl.String}
            writer.table("rejected.parquet", pl.DataFrame(schema=rejected))
            dimension = len(texts[0].vector)
            writer.summary.update(dimension=dimension, n_rows=len(kept), n_rejected=0)
        with self.storage.output("token_counts", shard).writing(RECIPE) as writer:
            counts = {"raw_row": raw_rows, "n_tokens": [text.n_tokens for _, text in kept]}
            writer.table("parquet", pl.DataFrame(counts))
        clusters = np.array([text.cluster for _, text in kept], dtype=np.int64)
        for level in range(1, len(parents) + 2):
            if level > 1:
                clusters = parents[level - 2][clusters]
            table = {"cluster": clusters, "distance": np.linspace(0, 1, len(kept), dtype=np.float32)}
            with self.storage.output(f"level_{level}_assign", shard).writing(RECIPE) as writer:
                writer.table("parquet", pl.DataFrame(table))
        excluded = [
            {"row": row, "raw_row": raw_row, "sample_id": text.sample_id,
             **dict(zip(("fate", "kind", "twin_set", "twin_id", "similarity"), text.twin, strict=True))}
            for row, (raw_row, text) in enumerate(kept) if text.twin
        ]  # fmt: skip
        with self.storage.output("admitted", shard).writing(RECIPE) as writer:
            table = pl.DataFrame(excluded, schema=Admitted.excluded.schema)
            writer.array("kept.npy", np.setdiff1d(np.arange(len(kept)), table["row"].to_numpy()))
            writer.table("excluded.parquet", table)
            writer.summary.update(dimension=2, n_rows=len(kept) - len(excluded), n_excluded=len(excluded))

    def select(self) -> pl.DataFrame:
        return make(self.spec, self.storage, "selection").table("selected.parquet")

    def write_ledgers(self) -> pl.DataFrame:
        """Write every shard's ledger, and return them as one table with the column shard."""
        parts = self.storage.output("selection").require_facts().parts
        tables = []
        for shard in self.storage.shards():
            recipe = Recipe({}, {"selection": parts[f"ledger/{shard.key}"]}, "1")
            output = make(self.spec, self.storage, "ledger", shard, recipe=recipe)
            tables.append(output.table("parquet").with_columns(shard=pl.lit(shard.key)))
        return pl.concat(tables)
