"""embeddings: the accepted samples of a shard through the encoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from curation_assets.formats.base import RawSample, RejectedSampleError, ShardReader
from curation_assets.formats.decoding import decode_sample
from curation_assets.steps.accepted import accepted_rows, accepted_samples, windows
from curation_assets.steps.embedded_rows import EmbeddedRows
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
            window of the encoder, whose texts end it at 64 Mi characters.
        metric: 'cosine' rejects embeddings of length zero, which have no direction.
        on_progress: called with the samples done so far.

    Raises:
        ShardError: if a file changed since the raw pool was listed, or storage fails.
    """
    from curation_assets.formats.images import pixel_signatures

    accepted = accepted_rows(raw_pool)
    pixels: list[np.ndarray] = []
    rows = EmbeddedRows(writer, dimension=encoder.dimension, metric=metric)
    began = time.perf_counter()
    seconds_encoding = 0.0
    n_truncated = 0
    decoded = _decoded(accepted_samples(reader, shard, accepted), rows, source)
    for window in windows(decoded, encoder.window):
        started = time.perf_counter()
        samples = [sample for _, sample in window]
        block = np.asarray(encoder.encode(samples), dtype=np.float32)
        n_truncated += encoder.count_truncated(samples)
        seconds_encoding += time.perf_counter() - started
        good = rows.add(block, [row for row, _ in window])
        if source.modality == "image":
            pixels.append(pixel_signatures([samples[i] for i in good]))
        if on_progress:
            on_progress(rows.n_seen)
    seconds = time.perf_counter() - began
    rows.finish(accepted)
    if source.modality == "image":
        writer.array(SIGNATURES, np.concatenate([pixel_signatures([]), *pixels]))
    writer.summary.update(
        encoder=encoder.identity,
        n_truncated=n_truncated,
        samples_per_second=round(rows.n_kept / max(seconds, 1e-9), 1),
        encoding_share=round(seconds_encoding / max(seconds, 1e-9), 3),
        seconds={
            "read_and_decode": round(seconds - seconds_encoding, 3),
            "encode": round(seconds_encoding, 3),
        },
    )


def _decoded(
    samples: Iterator[tuple[int, RawSample]], rows: EmbeddedRows, source: SourceSettings
) -> Iterator[tuple[int, Any]]:
    for row, sample in samples:
        try:
            yield row, decode_sample(sample, source)
        except RejectedSampleError as error:
            rows.reject(row, error.reason.value, error.detail)
