"""A project with a pool of precomputed embeddings, which is curated in seconds, and the changes of its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

POOL = "n"
ROWS = 60
DIMENSION = 16
_CENTRES = 12
# Times of files are part of what the pool knows of them, so they are the same in every project.
_CHANGED_AT = 1_700_000_000
_SETTINGS = {
    "source": {
        "format": "embeddings",
        "layout": "folder",
        "path": "data/raw/n",
        "encoder": "x",
        "id_field": "key",
        "text_field": "caption",
        # Copies of a project have other inodes and change times; its files are the same.
        "check": "digest",
        "max_gone_share": 1.0,
    },
    "levels": [{"n_clusters": 20}, {"n_clusters": 6}],
    "deduplication": {"exact": False},
    "targets": [{"name": "third", "fraction": 0.3}, {"name": "fifty", "size": 50}],
    "outputs": ["parquet", "ids", "weights"],
    "refit": {"new_rows": 0.5},
}


@dataclass(frozen=True)
class EmbeddingsProject:
    """A project folder; everything that a command makes lies below it."""

    folder: Path

    @property
    def stored(self) -> Path:
        """Folder of what is stored of the pool."""
        return self.folder / "data" / "curated" / POOL

    @property
    def environment(self) -> dict[str, str]:
        """What the command line needs to work on this project and nothing else."""
        state = str(self.folder / "data" / "dagster")
        return {
            "CURATION_HOME": str(self.folder),
            "CURATION_STORAGE": str(self.folder / "data" / "curated"),
            "CURATION_STATE": state,
            "DAGSTER_HOME": state,
            "OMP_NUM_THREADS": "1",
        }

    @property
    def _raw(self) -> Path:
        return self.folder / "data" / "raw" / POOL

    def create(self, n_shards: int) -> None:
        """Write settings and shards; nothing is curated yet."""
        state = self.folder / "data" / "dagster"
        for folder in (self._raw, self.folder / "pools", state):
            folder.mkdir(parents=True)
        (self.folder / "pools" / f"{POOL}.yaml").write_text(yaml.safe_dump(_SETTINGS, sort_keys=False))
        (state / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        self.add(*range(n_shards))

    def add(self, *shards: int, edition: int = 0) -> None:
        """Write shards, each with four copies of rows that every shard has; another edition has other rows."""
        for shard in shards:
            rng = np.random.default_rng((shard, edition))
            kinds = rng.zipf(1.5, ROWS) % _CENTRES
            centres = np.random.default_rng(0).normal(size=(_CENTRES, DIMENSION))
            rows = centres[kinds] + 0.5 * rng.normal(size=(ROWS, DIMENSION))
            rows[:4] = centres[:4]
            np.save(self._file(shard, "npy"), rows.astype(np.float16))
            self._write_metadata(shard, kinds, edition)
            self._set_times(shard, edition)

    def rename_captions(self, shard: int) -> None:
        """Change metadata alone; the embeddings stay."""
        kinds = pq.read_table(self._file(shard, "parquet"))["kind"].to_numpy()
        self._write_metadata(shard, kinds, 7)
        self._set_times(shard, 7)

    def remove(self, *shards: int) -> None:
        """Delete the files of shards."""
        for shard in shards:
            for extension in ("npy", "parquet"):
                self._file(shard, extension).unlink()

    def _file(self, shard: int, extension: str) -> Path:
        return self._raw / f"{shard:05}.{extension}"

    def _write_metadata(self, shard: int, kinds: np.ndarray, edition: int) -> None:
        captions = [f"caption {i} of shard {shard}, edition {edition}" for i in range(ROWS)]
        keys = [f"{shard}-{i}" for i in range(ROWS)]
        table = pa.table({"key": keys, "caption": captions, "kind": kinds})
        pq.write_table(table, self._file(shard, "parquet"))

    def _set_times(self, shard: int, edition: int) -> None:
        for extension in ("npy", "parquet"):
            os.utime(self._file(shard, extension), (_CHANGED_AT + edition,) * 2)
