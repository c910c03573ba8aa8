"""embeddings: the accepted samples of a shard through the encoder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curation_assets.errors import ShardError
from curation_assets.formats.base import RawSample, RejectedSampleError, RejectionReason, ShardReader
from curation_assets.formats.decoding import decode_sample
from curation_assets.steps.ingest import TABLE
from curation_assets.storage.embeddings import ARRAY, REJECTED, ROWS, SIGNATURES
from curation_assets.storage.outputs import Output, OutputWriter
from curation_assets.storage.shards import Shard

if TYPE_CHECKING:
    from curation_assets.encoders import Encoder
    from curation_assets.pools import Metric, SourceSettings

_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
_REJECTED_SCHEMA: dict[str, Any] = {"raw_row": pl.Int64, "reason": pl.String, "detail": pl.String}


def embed_shard(
    reader: ShardReader,
    shard: Shard,
    raw_pool: Output,
    encoder: Encoder,
    writer: OutputWriter,
    *,
    source: SourceSettings,
    metric: Metric,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Decode and embed a shard's accepted samples; what cannot be decoded or embedded is rejected.

    Args:
        reader: of the pool's format.
        shard: its files.
        raw_pool: the shard's raw pool.
        encoder: with weights loaded.
        writer: gets embeddings float16 (n, d), pixel signatures of images, the rows' table and the rejected rows.
        source: settings of the pool's source, which say how a sample is decoded. Peak memory is one decoded
            window of the encoder and the shard's embeddings.
        metric: 'cosine' rejects embeddings of length zero, which have no direction.
        on_progress: called with the samples done so far.

    Raises:
        ShardError: if a file changed since the raw pool was listed, or storage fails.
    """
    from curation_assets.formats.images import pixel_signatures

    table = raw_pool.table(TABLE).with_row_index("raw_row").filter(pl.col("reason").is_null())
    expected = {(row["file"], row["offset"]): row["raw_row"] for row in table.iter_rows(named=True)}
    kept_rows: list[int] = []
    blocks: list[np.ndarray] = []
    pixels: list[np.ndarray] = []
    rejected: list[tuple[int, str, str]] = []
    seconds = {"read_and_decode": 0.0, "encode": 0.0}
    decoded = _decoded(reader, shard, expected, rejected, source)
    n_truncated = 0
    while True:
        began = time.perf_counter()
        batch = list(islice(decoded, encoder.window))
        seconds["read_and_decode"] += time.perf_counter() - began
        if not batch:
            break
        began = time.perf_counter()
        samples = [sample for _, sample in batch]
        block = np.asarray(encoder.encode(samples), dtype=np.float32)
        n_truncated += encoder.count_truncated(samples)
        seconds["encode"] += time.perf_counter() - began
        good = _usable(block, [row for row, _ in batch], metric, rejected)
        kept_rows.extend(batch[i][0] for i in good)
        blocks.append(block[good].astype(np.float16))
        if source.modality == "image":
            pixels.append(pixel_signatures([samples[i] for i in good]))
        if on_progress:
            on_progress(len(kept_rows) + len(rejected))
    if missing := len(expected) - len(kept_rows) - len(rejected):
        raise ShardError(
            f"shard '{shard.key}': {missing} samples of the raw pool are no longer in its files: run raw_pool again"
        )
    _write(writer, table, kept_rows, blocks, rejected, encoder.dimension)
    if source.modality == "image":
        writer.array(SIGNATURES, np.concatenate([pixel_signatures([]), *pixels]))
    writer.summary.update(
        encoder=encoder.identity,
        n_truncated=n_truncated,
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


def _decoded(
    reader: ShardReader,
    shard: Shard,
    expected: dict[tuple[str, int], int],
    rejected: list[tuple[int, str, str]],
    source: SourceSettings,
) -> Iterator[tuple[int, Any]]:
    for file in shard.files:
        for item in reader.read(file.path):
            if not isinstance(item, RawSample) or (file.path, item.offset) not in expected:
                continue
            row = expected[file.path, item.offset]
            try:
                yield row, decode_sample(item, source)
            except RejectedSampleError as error:
                rejected.append((row, error.reason.value, error.detail))


def _usable(
    block: np.ndarray, rows: list[int], metric: Metric, rejected: list[tuple[int, str, str]]
) -> np.ndarray:
    """Positions of embeddings that can be stored and clustered; the others are rejected."""
    finite = np.isfinite(block).all(axis=1) & (np.abs(block).max(axis=1) <= _LARGEST_FLOAT16)
    with np.errstate(over="ignore"):
        stored = block.astype(np.float16)
    nonzero = stored.any(axis=1) if metric == "cosine" else np.ones(len(block), dtype=bool)
    for i in np.flatnonzero(~(finite & nonzero)):
        what = "is zero, so has no direction" if finite[i] else "holds NaN, infinity or values beyond float16"
        rejected.append((rows[i], RejectionReason.NON_FINITE_EMBEDDING.value, f"the embedding {what}"))
    return np.flatnonzero(finite & nonzero)


def _write(
    writer: OutputWriter,
    table: pl.DataFrame,
    kept_rows: list[int],
    blocks: list[np.ndarray],
    rejected: list[tuple[int, str, str]],
    dimension: int,
) -> None:
    array = np.concatenate([np.empty((0, dimension), dtype=np.float16), *blocks])
    order = pl.DataFrame({"raw_row": kept_rows}, schema={"raw_row": pl.UInt32})
    rows = order.join(table.select("raw_row", "sample_id", "id_hash"), on="raw_row", maintain_order="left")
    writer.array(ARRAY, array)
    writer.table(ROWS, rows)
    writer.table(REJECTED, pl.DataFrame(rejected, schema=_REJECTED_SCHEMA, orient="row"))
    norms = np.linalg.norm(array.astype(np.float32), axis=1)
    writer.summary.update(
        n_rows=len(array),
        dimension=dimension,
        n_rejected=len(rejected),
        rejections=dict(sorted(Counter(reason for _, reason, _ in rejected).items())),
        mean_norm=round(float(norms.mean()), 4) if len(norms) else None,
    )
