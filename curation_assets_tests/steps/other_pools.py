"""Small pools of texts and of embeddings, run step by step without Dagster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curation_assets.encoders.base import Encoder
from curation_assets.formats.accounts import Account
from curation_assets.formats.base import Listing, RawSample, Rejection, ShardReader, SourceFile
from curation_assets.steps.ingest.embed import embed_samples
from curation_assets_tests.formats.embedded import write_clip_retrieval
from curation_assets_tests.steps.drawn_pool import RECIPE, Pool
from curation_assets_tests.steps.making import make

SPLIT_LEVELS = [{"n_clusters": 48, "n_coarse_clusters": 12}, {"n_clusters": 6, "resampling_steps": 1}]


class EmbeddedPool(Pool):
    """A pool of embeddings below `raw`."""

    def __init__(self, folder: Path, source: dict[str, Any], **changes: Any) -> None:
        about = {"format": "embeddings", "path": "raw", "encoder": "ViT-B/32", **source}
        super().__init__(folder, source=about, **{"encoder": None, **changes})

    def embed(self) -> None:
        for shard in self.storage.shards():
            make(self.spec, self.storage, "embeddings", shard, reader=self.reader)


def make_embedded_pool(folder: Path) -> EmbeddedPool:
    """Three shards of 8 dimensions; a third of the rows are alike, so that one coarse cluster is large."""
    arrays = write_clip_retrieval(folder / "raw", [200, 300, 100])
    rng = np.random.default_rng(1)
    for number, array in enumerate(arrays):
        array[::3] = array[0] + 1e-2 * rng.normal(size=array[::3].shape)
        np.save(folder / "raw" / "img_emb" / f"img_emb_{number}.npy", array)
    pool = EmbeddedPool(folder, {"id_field": "url"}, levels=SPLIT_LEVELS)
    pool.ingest()
    pool.embed()
    return pool


class _Letters(Encoder):
    """How often each letter occurs."""

    dimension = 26
    identity = {"model": "letters"}  # noqa: RUF012 - stands for a property
    window = 16

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        counts = [
            [text.lower().count(letter) + 0.1 for letter in map(chr, range(97, 123))] for text in samples
        ]
        return np.array(counts, dtype=np.float32)


class _Lines(ShardReader):
    """JSON lines in the form that readers of rows give to writers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def look(self) -> Listing:
        paths = sorted(self._folder.iterdir())
        return Listing([SourceFile(path.name, path.stat().st_size, "1") for path in paths])

    def read(self, file: str, account: Account | None = None) -> Iterator[RawSample | Rejection]:
        for number, line in enumerate((self._folder / file).read_text(encoding="utf-8").splitlines()):
            document = json.loads(line)
            text = document.pop("text").encode()
            sample_id = document["id"]
            parts = {"txt": text, "json": json.dumps(document, ensure_ascii=False).encode()}
            yield RawSample(sample_id, file, f"row {number}", number, text, parts, document)


class TextPool(Pool):
    """A pool of JSON lines below `raw`, with the fields id and text."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        source = {"format": "jsonl", "path": "raw", "id_field": "id"}
        encoder = {"kind": "sentence_transformers", "model": "none"}
        super().__init__(folder, source=source, **{"encoder": encoder, **changes})
        self.reader = _Lines(folder / "raw")

    def embed(self) -> None:
        for shard in self.storage.shards():
            with self.storage.output("embeddings", shard.key).writing(RECIPE) as writer:
                embed_samples(self.source(shard), _Letters(), writer, metric="cosine")
