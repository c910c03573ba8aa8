"""embeddings of a pool that brings its own: taken over as they are, without an encoder."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl

from curation_assets.steps.ingest.accepted import ShardSource, samples_gone
from curation_assets.steps.ingest.embedded_rows import EmbeddedRows
from curation_assets.steps.ingest.read_ahead import ReadAhead
from curation_assets.steps.ingest.throughput import Throughput
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.shards import Shard

if TYPE_CHECKING:
    from curation_assets.algorithms.settings import Metric
    from curation_assets.formats.embeddings import EmbeddingsReader


def take_embeddings(
    source: ShardSource,
    writer: OutputWriter,
    *,
    encoder: str,
    metric: Metric,
    on_progress: Callable[[int, str], None] | None = None,
) -> None:
    """Copy the embeddings of a shard's accepted samples as float16, chunk by chunk; with 'cosine' as unit vectors.

    Args:
        source: of the shard's samples; its reader is one of embeddings.
        writer: gets embeddings float16 (n, d), the rows' table and the rejected rows.
        encoder: name of the model that made them.
        metric: 'cosine' rejects embeddings of length zero, which have no direction.
        on_progress: called with the samples done so far, and the speed.

    Raises:
        ShardError: if an array changed since the raw pool was listed, differs in dimension from the pool's
            others, or storage fails.
    """
    reader, shard = cast("EmbeddingsReader", source.reader), source.shard
    table = source.raw_pool.samples.read("file", "offset", "sample_id", "id_hash", "reason")
    table = table.with_row_index("raw_row").filter(pl.col("reason").is_null())
    dimension = reader.header(shard.files[0].path).dimension
    rows = EmbeddedRows(writer, dimension=dimension, metric=metric, to_unit=True)
    # Copying waits for the disk either way; reading ahead would only hold a second chunk in memory.
    with ReadAhead(_accepted_blocks(reader, shard, table), in_background=False) as blocks:
        throughput = Throughput(blocks.times, overlapped=False)
        for block, raw_rows in blocks:
            with throughput.writing():
                rows.add(block, raw_rows)
            if on_progress:
                on_progress(rows.n_seen, throughput.line(rows.n_seen))
    if missing := len(table) - rows.n_seen:
        raise samples_gone(shard.key, missing)
    with throughput.writing():
        rows.finish(table)
    writer.summary.update(
        encoder={"kind": "precomputed", "model": encoder}, n_truncated=0, **throughput.summary(rows.n_seen)
    )


def _accepted_blocks(
    reader: EmbeddingsReader, shard: Shard, table: pl.DataFrame
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """The accepted embeddings chunk by chunk, with their rows of the raw pool."""
    for file in shard.files:
        mine = table.filter(pl.col("file") == file.path).sort("offset")
        offsets, raw_rows = mine["offset"].to_numpy(), mine["raw_row"].to_numpy()
        start = 0
        for block in reader.read_array(file.path):
            first, last = np.searchsorted(offsets, [start, start + len(block)])
            if first < last:
                yield block[offsets[first:last] - start], raw_rows[first:last]
            start += len(block)
