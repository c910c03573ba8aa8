"""Which embedded rows of a shard the tree is fitted on and drawn from, and why the others are not."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

KEPT: Final = "kept.npy"
"""int64, ascending: rows of the shard's embeddings that are admitted."""
EXCLUDED: Final = "excluded.parquet"
EMBEDDINGS_DIGEST: Final = "embeddings.txt"

DUPLICATE_FATE, CONTAMINATED_FATE = "duplicate", "contaminated"
KIND_WORDS: Final = {
    "exact": "same bytes",
    "normalized_text": "same text, but for case and spaces",
    "pixels": "same picture, but for size and encoding",
    "semantic": "nearly the same",
}
"""Kind of evidence -> what it says of a sample and its twin, strongest first."""
EXCLUDED_SCHEMA: dict[str, Any] = {
    "row": pl.UInt32,
    "raw_row": pl.UInt32,
    "sample_id": pl.String,
    "fate": pl.String,
    "kind": pl.String,
    "twin_set": pl.String,
    "twin_id": pl.String,
    "similarity": pl.Float32,
}
"""`twin_set` is the shard of the twin that is kept, or the evaluation set that a sample is too close to."""

EVIDENCE_SCHEMA: dict[str, Any] = {
    "row": pl.UInt32,
    "raw_row": pl.UInt32,
    "sample_id": pl.String,
    "kind": pl.String,
    "twin_set": pl.String,
    "twin_id": pl.String,
    "similarity": pl.Float32,
}
"""What `contaminated` stores per shard, and `duplicates` in one table with the column `shard` before these."""
EVIDENCE: Final = "evidence.parquet"
