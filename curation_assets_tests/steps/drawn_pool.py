"""A small pool of drawn images, run step by step without Dagster, with a real if tiny encoder."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from curation_assets.encoders.base import Encoder
from curation_assets.formats import build_reader
from curation_assets.pools import PoolSpec
from curation_assets.steps.ingest.accepted import ShardSource
from curation_assets.steps.ingest.embed import embed_samples
from curation_assets.steps.tree.assign import ShardAssigner
from curation_assets.steps.tree.fit import LevelFit
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard, group_files
from curation_assets_tests.steps.making import RECIPE, make


class MeanColours(Encoder):
    """Mean colour of a 2 x 2 grid; black images have a zero embedding, white ones a NaN, red ones infinity."""

    dimension = 12
    identity = {"model": "mean colours"}  # noqa: RUF012 - stands for a property
    window = 4

    def encode(self, samples: Sequence[Image.Image]) -> np.ndarray:
        grids = [
            np.asarray(image.resize((2, 2), Image.Resampling.BOX), dtype=np.float32).ravel()
            for image in samples
        ]
        block = np.stack(grids) / 255
        block[(block == 1).all(axis=1)] = np.nan
        block[(block[:, ::3] == 1).all(axis=1) & (block[:, 1::3] == 0).all(axis=1)] = np.inf
        return block


def png(colour: tuple[int, int, int] | None, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    pixels = (
        rng.integers(0, 255, (2, 2, 3), dtype=np.uint8)
        if colour is None
        else np.full((2, 2, 3), colour, np.uint8)
    )
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((8, 8), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, samples: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in samples.items():
            for member, data in (
                (f"{name}.png", content),
                (f"{name}.json", b'{"kind": "%s"}' % name[:1].encode()),
            ):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


class Pool:
    """A pool in a folder, run step by step without Dagster."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        settings: dict[str, Any] = {
            "name": "drawn",
            "source": {"path": "raw", "label_fields": ["kind"]},
            "encoder": {"kind": "bundled"},
            "levels": [{"n_clusters": 12, "resampling_steps": 2}, {"n_clusters": 4, "resampling_steps": 1}],
            "targets": [{"name": "small", "size": 15}, {"name": "typical", "size": 9, "strategy": "closest"}],
        }
        self.spec = PoolSpec.model_validate({**settings, **changes})
        self.storage = PoolStorage(str(folder / "curated"), "drawn")
        self.reader = build_reader(self.spec.source, folder)
        self.storage.save_shards(group_files(self.reader.list_files(), self.spec.source.files_per_shard))

    def source(self, shard: Shard) -> ShardSource:
        return ShardSource(self.reader, shard, self.storage.raw_pool(shard.key), self.spec.source)

    def ingest(self) -> None:
        for shard in self.storage.shards():
            make(self.spec, self.storage, "raw_pool", shard, reader=self.reader)

    def embed(self) -> None:
        for shard in self.storage.shards():
            with self.storage.output("embeddings", shard.key).writing(RECIPE) as writer:
                embed_samples(self.source(shard), MeanColours(), writer, metric="cosine")

    def cluster(self) -> None:
        for level in range(1, self.spec.n_levels + 1):
            fit = LevelFit(self.spec, self.storage, level)
            for kind, stage in (
                ("initial", fit.initial),
                ("resampled", fit.resampled),
                ("clusters", fit.final),
            ):
                with self.storage.output(f"level_{level}_{kind}").writing(RECIPE) as writer:
                    stage(writer)
            for shard in self.storage.shards():
                with self.storage.output(f"level_{level}_assign", shard.key).writing(RECIPE) as writer:
                    ShardAssigner(self.storage, level).assign_shard(shard.key, writer)

    def select(self) -> pl.DataFrame:
        return make(self.spec, self.storage, "selection").table("selected.parquet")

    def finish(self) -> pl.DataFrame:
        for shard in self.storage.shards():
            make(self.spec, self.storage, "ledger", shard)
            make(self.spec, self.storage, "balanced_dataset", shard, reader=self.reader)
        return pl.concat(
            [self.storage.output("ledger", s.key).table("parquet") for s in self.storage.shards()]
        )

    def run(self) -> None:
        """Every step up to the balanced dataset and the ledger."""
        self.ingest()
        self.embed()
        self.cluster()
        self.select()
        self.finish()

    def release(self) -> Path:
        """The folder of the releases."""
        return Path(str(make(self.spec, self.storage, "dataset_release").folder))
