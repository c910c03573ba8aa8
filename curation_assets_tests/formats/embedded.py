"""Small pools of embeddings, laid out as clip-retrieval's inference leaves them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DIMENSION = 8


def write_clip_retrieval(
    folder: Path, counts: Sequence[int], *, seed: int = 0, total: int | None = None, **extra: Any
) -> list[np.ndarray]:
    """Partitions of unit vectors in float16, and their image_path, caption and img2dataset metadata.

    As the library does, numbers are padded by the number of partitions; `extra` adds columns.
    """
    rng = np.random.default_rng(seed)
    width = int(math.log10(total or len(counts))) + 1
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    arrays = []
    concepts = rng.standard_normal((6, DIMENSION))
    for number, count in enumerate(counts):
        concept = rng.integers(0, 6, count)
        vectors = concepts[concept] + 0.2 * rng.standard_normal((count, DIMENSION))
        array = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
        key = [f"{number:05}{row:04}" for row in range(count)]
        table = {
            "image_path": key,
            "caption": [f"Nr. {row} · ü 猫" for row in range(count)],
            "url": [f"https://example.org/{number}/{row}.jpg?w=1" for row in range(count)],
            "width": pa.array([200 + row for row in range(count)], pa.int64()),
            "pwatermark": pa.array([row / 7 for row in range(count)], pa.float64()),
            "concept": [f"c{value}" for value in concept],
            **{name: values[:count] for name, values in extra.items()},
        }
        metadata = {"pandas": json.dumps({"index_columns": [], "columns": []})}
        stem = str(number).zfill(width)
        np.save(folder / "img_emb" / f"img_emb_{stem}.npy", array)
        pq.write_table(
            pa.table(table).replace_schema_metadata(metadata),
            folder / "metadata" / f"metadata_{stem}.parquet",
        )
        arrays.append(array)
    return arrays
