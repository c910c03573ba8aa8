"""A small cleaned pool of texts: planted duplicates and contamination, run step by step without Dagster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curation_assets.encoders.base import Encoder
from curation_assets.encoders.tokenizers import WordCounter
from curation_assets.formats import build_reader
from curation_assets.pools import PoolSpec
from curation_assets.steps.cleaning.evaluation_sets import embed_evaluation_sets
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.ingest.embed import embed_samples
from curation_assets.steps.ingest.token_counts import count_samples
from curation_assets.storage.fit_rows import FitRows, FittedShard, save_fit_rows
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import group_files
from curation_assets.storage.tables import Contaminated, Duplicates
from curation_assets_tests.steps.drawn_pool import RECIPE, Pool
from curation_assets_tests.steps.making import make

TOPICS = {
    "weather": ["rain", "wind", "cloud", "storm", "sun", "frost", "snow", "fog", "thunder", "drizzle"],
    "food": ["bread", "cheese", "soup", "apple", "pepper", "onion", "butter", "honey", "rice", "lentil"],
    "trains": [
        "platform",
        "engine",
        "carriage",
        "signal",
        "ticket",
        "station",
        "tunnel",
        "rail",
        "whistle",
        "timetable",
    ],
    "sea": ["harbour", "wave", "sail", "tide", "gull", "anchor", "lighthouse", "reef", "shell", "ferry"],
}
ARABIC = "القطار يصل إلى المحطة في الصباح الباكر والركاب ينتظرون على الرصيف"
HEBREW = "הרכבת מגיעה לתחנה מוקדם בבוקר"
HOSTILE = "<script>alert('text')</script> & \"quotes\""


class BagOfWords(Encoder):
    """Hashed words of a text, so that texts of a topic lie near each other."""

    dimension = 24
    identity = {"model": "bag of words"}  # noqa: RUF012 - stands for a property
    window = 8

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        block = np.zeros((len(samples), self.dimension), dtype=np.float32)
        for row, text in enumerate(samples):
            for word in text.split():
                block[row, sum(word.encode()) % self.dimension] += 1
        return block


def write_lines(path: Path, samples: dict[str, tuple[str, str | None]]) -> None:
    """Samples as id -> (text, topic)."""
    lines = [
        json.dumps({"id": name, "text": text, "topic": topic}) for name, (text, topic) in samples.items()
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def sentences(prefix: str, n: int, seed: int) -> dict[str, tuple[str, str | None]]:
    rng = np.random.default_rng(seed)
    made: dict[str, tuple[str, str | None]] = {}
    for i in range(n):
        # A long tail: half of the texts are about the weather.
        topic = str(rng.choice(list(TOPICS), p=[0.5, 0.25, 0.15, 0.1]))
        made[f"{prefix}{i:02}"] = (" ".join(rng.choice(TOPICS[topic], 12)), topic)
    return made


class TextPool(Pool):
    """Three shards; b00, b01 and c00 are copies of a00, c01 of a01, c02 is in the evaluation set `quiz`."""

    duplicates = (("b", "b00", "exact", "a", "a00", 1.0), ("b", "b01", "semantic", "a", "a00", 0.97),
                  ("c", "c00", "semantic", "a", "a00", 0.99), ("c", "c01", "exact", "a", "a01", 1.0))  # fmt: skip
    contaminated = (("c", "c02", "exact", "quiz", "q1", 1.0),)

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        settings: dict[str, Any] = {
            "name": "texts",
            "source": {"format": "jsonl", "path": "raw", "id_field": "id", "label_fields": ["topic"]},
            "encoder": {"kind": "sentence_transformers", "model": "none"},
            "deduplication": {},
            "decontamination": {
                "evaluation_sets": [
                    {"name": "quiz", "source": {"format": "jsonl", "path": "quiz", "id_field": "id"}},
                    {"name": "clean", "source": {"format": "jsonl", "path": "clean", "id_field": "id"}},
                ]
            },
            "levels": [{"n_clusters": 12, "resampling_steps": 2}, {"n_clusters": 4, "resampling_steps": 1}],
            "targets": [{"name": "small", "size": 12}],
        }
        self.spec = PoolSpec.model_validate({**settings, **changes})
        self.storage = PoolStorage(str(folder / "curated"), "texts")
        (folder / "raw").mkdir()
        (folder / "quiz").mkdir()
        (folder / "clean").mkdir()
        a, b, c = (sentences(name, 20, seed) for seed, name in enumerate("abc"))
        a["a02"], a["a03"], a["a04"] = (ARABIC, "trains"), (HEBREW, None), (HOSTILE, "food")
        b["b00"], c["c01"], c["c02"] = a["a00"], a["a01"], ("which ferry has an anchor", "sea")
        c["c19"] = ("   ", None)
        for name, samples in (("a", a), ("b", b), ("c", c)):
            write_lines(folder / "raw" / f"{name}.jsonl", samples)
        write_lines(folder / "quiz" / "quiz.jsonl", {"q0": ("unused", None), "q1": c["c02"]})
        write_lines(folder / "clean" / "clean.jsonl", {"p0": ("of something else altogether", None)})
        self.reader = build_reader(self.spec.source, folder)
        self.storage.save_shards(group_files(self.reader.list_files(), 1))

    def embed(self) -> None:
        for shard in self.storage.shards():
            with self.storage.output("embeddings", shard.key).writing(RECIPE) as writer:
                embed_samples(self.source(shard), BagOfWords(), writer, metric="cosine")

    def clean(self) -> None:
        """Evidence as planted, the rows that are left, and those as the rows of the fit."""
        with self.storage.output("duplicates").writing(RECIPE) as writer:
            Duplicates.evidence.write(writer, self._evidence(self.duplicates))
        with self.storage.output("evaluation_sets").writing(RECIPE) as writer:
            readers = PoolAccess(self.spec, self.storage, str(self.folder)).evaluation_readers
            embed_evaluation_sets(self.spec, readers, BagOfWords(), writer)
        fitted = {}
        for shard in self.storage.shards():
            mine = [entry for entry in self.contaminated if entry[0] == shard.key]
            with self.storage.output("contaminated", shard.key).writing(RECIPE) as writer:
                Contaminated.evidence.write(writer, self._evidence(mine).drop("shard"))
            output = make(self.spec, self.storage, "admitted", shard)
            embedded, facts = (
                self.storage.output("embeddings", shard.key).require_facts(),
                output.require_facts(),
            )
            fitted[shard.key] = FittedShard(facts.digest, facts.summary["n_rows"], embedded.digest)
        save_fit_rows(self.storage.folder, FitRows(fitted, "bag of words", "first fit"))

    def _evidence(self, entries: Sequence[tuple[str, str, str, str, str, float]]) -> pl.DataFrame:
        rows = []
        for shard, sample_id, *rest in entries:
            ids = self.storage.output("embeddings", shard).table("rows.parquet")
            place = ids["sample_id"].to_list().index(sample_id)
            rows.append((shard, place, ids["raw_row"][place], sample_id, *rest))
        return pl.DataFrame(rows, schema=Duplicates.evidence.schema, orient="row")

    def ledger(self) -> None:
        """One fate a row."""
        for shard in self.storage.shards():
            make(self.spec, self.storage, "ledger", shard)

    def count_tokens(self) -> None:
        """Words, as tokens."""
        for shard in self.storage.shards():
            with self.storage.output("token_counts", shard.key).writing(RECIPE) as writer:
                count_samples(self.source(shard), WordCounter(), writer)

    def run(self) -> None:
        """Every step up to the ledger."""
        self.ingest()
        self.embed()
        if self.spec.counts_tokens:
            self.count_tokens()
        self.clean()
        self.cluster()
        self.select()
        self.ledger()
