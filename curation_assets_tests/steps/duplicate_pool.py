"""Pools of hand-made samples, written as the steps before deduplication would."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curation_assets.formats.base import SourceFile
from curation_assets.formats.texts import normalized_digest
from curation_assets.pools import PoolSpec
from curation_assets.steps.ingest.raw_pool import hash_id
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import Contaminated, Embedded, RawPool
from curation_assets_tests.steps.making import make

RECIPE = Recipe({}, {}, "1")
TEXT = {
    "source": {"format": "jsonl", "path": "raw", "modality": "text"},
    "encoder": {"kind": "sentence_transformers", "model": "some"},
}
IMAGE = {"source": {"path": "raw"}, "encoder": {"kind": "bundled"}}


@dataclass(frozen=True)
class Sample:
    """One sample: its bytes decide the digests, its vector the embedding."""

    sample_id: str
    content: str
    vector: tuple[float, ...]
    label: str | None = None


def at(degrees: float) -> tuple[float, float]:
    """A direction in the plane."""
    return float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))


def image_spec(**deduplication: Any) -> PoolSpec:
    return make_spec(IMAGE, deduplication)


def text_spec(**deduplication: Any) -> PoolSpec:
    return make_spec(TEXT, deduplication)


def make_spec(base: Mapping[str, Any], deduplication: Mapping[str, Any], **changes: Any) -> PoolSpec:
    rest = {
        "name": "made",
        "levels": [{"n_clusters": 2}],
        "targets": [{"name": "t", "size": 1}],
        "deduplication": {"threshold": 0.9, **deduplication},
    }
    return PoolSpec.model_validate({**base, **rest, **changes})


class DuplicatePool:
    """A pool in a folder."""

    def __init__(self, folder: Path, spec: PoolSpec) -> None:
        self.spec = spec
        self.storage = PoolStorage(str(folder), "made")
        self._shards: dict[str, Shard] = {}

    def put(self, shard: str, samples: Sequence[Sample], *, blank: Sequence[int] = ()) -> None:
        """Add a shard, or change it; `blank` are the rows of images of one colour."""
        rows = [
            {
                "sample_id": sample.sample_id,
                "id_hash": hash_id(sample.sample_id),
                "file": f"{shard}.tar",
                "member": sample.sample_id,
                "offset": number,
                "size_bytes": len(sample.content),
                "content_sha256": hashlib.sha256(sample.content.encode()).hexdigest(),
                "n_characters": len(sample.content),
                "normalized_sha256": normalized_digest(sample.content),
                "label_kind": sample.label,
            }
            for number, sample in enumerate(samples)
        ]
        raw = pl.DataFrame(rows, schema={**RawPool.samples.schema, "label_kind": pl.String}, orient="row")
        with self.storage.raw_pool(shard).writing(RECIPE) as writer:
            writer.table("parquet", raw)
        named = raw.with_row_index("raw_row").select("raw_row", "sample_id", "id_hash")
        vectors = np.array([sample.vector for sample in samples], dtype=np.float16)
        with self.storage.output("embeddings", shard).writing(RECIPE) as writer:
            writer.array("npy", vectors)
            writer.table("rows.parquet", named)
            if blank:
                Embedded.blank.write(writer, np.array(blank, dtype=np.uint32))
            writer.summary.update(n_rows=len(samples), dimension=vectors.shape[1], n_blank=len(blank))
        self._shards[shard] = Shard(shard, (SourceFile(f"{shard}.tar", 1, "1"),))
        self.storage.save_shards(list(self._shards.values()))
        if self.spec.decontamination:
            self.contaminate(shard, ())

    def drop(self, shard: str) -> None:
        """Delete a shard."""
        del self._shards[shard]
        self.storage.save_shards(list(self._shards.values()))

    def contaminate(self, shard: str, rows: Sequence[int]) -> None:
        """Say which rows of a shard are in an evaluation set."""
        table = pl.DataFrame({"row": rows}, schema={"row": pl.UInt32}).with_columns(
            pl.lit(None, dtype).alias(name) for name, dtype in list(Contaminated.evidence.schema.items())[1:]
        )
        with self.storage.output("contaminated", shard).writing(RECIPE) as writer:
            Contaminated.evidence.write(writer, table)

    def deduplicate(self, *, anew: bool = False) -> dict[str, tuple[str, str]]:
        """Removed sample id -> id of its twin and kind."""
        make(self.spec, self.storage, "duplicates", forced=anew)
        return {
            row["sample_id"]: (row["twin_id"], row["kind"]) for row in self.evidence().iter_rows(named=True)
        }

    def evidence(self) -> pl.DataFrame:
        return self.storage.duplicates().evidence.read()

    def summary(self) -> Mapping[str, Any]:
        return self.storage.output("duplicates").require_facts().summary

    def parts(self) -> Mapping[str, str]:
        return self.storage.output("duplicates").require_facts().parts
