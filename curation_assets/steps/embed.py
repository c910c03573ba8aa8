"""embeddings: the accepted samples of a shard through the encoder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curation_assets.formats.base import RawSample, RejectedSampleError, RejectionReason, ShardReader
from curation_assets.formats.decoding import decode_sample
from curation_assets.steps.samples import accepted_rows, accepted_samples, windows
from curation_assets.storage.embeddings import ARRAY, REJECTED, ROWS
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
        writer: gets embeddings float16 (n, d), the rows' table and the rejected rows.
        source: settings of the pool's source, which say how a sample is decoded. Peak memory is one decoded
            window of the encoder (a text is at most 64 Mi characters of it before it ends) and the shard's
            embeddings.
        metric: 'cosine' rejects embeddings of length zero, which have no direction.
        on_progress: called with the samples done so far.

    Raises:
        ShardError: if a file changed since the raw pool was listed, or storage fails.
    """
    accepted = accepted_rows(raw_pool)
    kept_rows: list[int] = []
    blocks: list[np.ndarray] = []
    rejected: list[tuple[int, str, str]] = []
    began = time.perf_counter()
    seconds_encoding = 0.0
    n_truncated = 0
    decoded = _decoded(accepted_samples(reader, shard, accepted), rejected, source)
    for window in windows(decoded, encoder.window):
        started = time.perf_counter()
        samples = [sample for _, sample in window]
        block = np.asarray(encoder.encode(samples), dtype=np.float32)
        n_truncated += encoder.count_truncated(samples)
        seconds_encoding += time.perf_counter() - started
        good = _usable(block, [row for row, _ in window], metric, rejected)
        kept_rows.extend(window[i][0] for i in good)
        blocks.append(block[good].astype(np.float16))
        if on_progress:
            on_progress(len(kept_rows) + len(rejected))
    seconds = time.perf_counter() - began
    _write(writer, accepted, kept_rows, blocks, rejected, encoder.dimension)
    writer.summary.update(
        encoder=encoder.identity,
        n_truncated=n_truncated,
        samples_per_second=round(len(kept_rows) / max(seconds, 1e-9), 1),
        encoding_share=round(seconds_encoding / max(seconds, 1e-9), 3),
        seconds={
            "read_and_decode": round(seconds - seconds_encoding, 3),
            "encode": round(seconds_encoding, 3),
        },
    )


def _decoded(
    samples: Iterator[tuple[int, RawSample]], rejected: list[tuple[int, str, str]], source: SourceSettings
) -> Iterator[tuple[int, Any]]:
    for row, sample in samples:
        try:
            yield row, decode_sample(sample, source)
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
