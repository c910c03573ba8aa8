"""embeddings: the accepted samples of a shard through the encoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curation_assets.errors import ShardError
from curation_assets.formats.base import RawSample, RejectedSampleError, ShardReader
from curation_assets.formats.decoding import decode_sample
from curation_assets.steps.embedded_rows import EmbeddedRows
from curation_assets.steps.ingest import TABLE
from curation_assets.storage.embeddings import SIGNATURES
from curation_assets.storage.outputs import Output, OutputWriter
from curation_assets.storage.shards import Shard

if TYPE_CHECKING:
    from curation_assets.encoders import Encoder
    from curation_assets.pools import Metric, SourceSettings


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
            window of the encoder.
        metric: 'cosine' rejects embeddings of length zero, which have no direction.
        on_progress: called with the samples done so far.

    Raises:
        ShardError: if a file changed since the raw pool was listed, or storage fails.
    """
    from curation_assets.formats.images import pixel_signatures

    table = raw_pool.table(TABLE).with_row_index("raw_row").filter(pl.col("reason").is_null())
    expected = {(row["file"], row["offset"]): row["raw_row"] for row in table.iter_rows(named=True)}
    pixels: list[np.ndarray] = []
    rows = EmbeddedRows(writer, dimension=encoder.dimension, metric=metric)
    seconds = {"read_and_decode": 0.0, "encode": 0.0}
    decoded = _decoded(reader, shard, expected, rows, source)
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
        good = rows.add(block, [row for row, _ in batch])
        if source.modality == "image":
            pixels.append(pixel_signatures([samples[i] for i in good]))
        if on_progress:
            on_progress(rows.n_seen)
    if missing := len(expected) - rows.n_seen:
        raise ShardError(
            f"shard '{shard.key}': {missing} samples of the raw pool are no longer in its files: run raw_pool again"
        )
    rows.finish(table)
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
    rows: EmbeddedRows,
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
                rows.reject(row, error.reason.value, error.detail)
