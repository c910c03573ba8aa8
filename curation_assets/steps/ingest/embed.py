"""embeddings: encodes the accepted samples of a shard while the next ones are read and decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from curation_assets.steps.ingest.accepted import ShardSource, accepted_rows, accepted_samples
from curation_assets.steps.ingest.decoded_windows import decoded_windows
from curation_assets.steps.ingest.embedded_rows import EmbeddedRows
from curation_assets.steps.ingest.encoded_windows import encoded_windows
from curation_assets.steps.ingest.pixel_room import PixelRoom
from curation_assets.steps.ingest.read_ahead import ReadAhead
from curation_assets.steps.ingest.throughput import Throughput
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.tables import Embedded

if TYPE_CHECKING:
    from curation_assets.algorithms.settings import Metric
    from curation_assets.encoders import Encoder

_ROOM = 256 * 10**6


def embed_samples(
    source: ShardSource,
    encoder: Encoder,
    writer: OutputWriter,
    *,
    metric: Metric,
    decode_threads: int = 1,
    room: PixelRoom | None = None,
    on_progress: Callable[[int, str], None] | None = None,
) -> None:
    """Decode and embed a shard's accepted samples; reject those that cannot be decoded or embedded.

    The output is the same, byte for byte, for any number of threads. Peak memory is two windows of prepared samples
    (see `Encoder.prepare`; texts end a window at 64 Mi characters) and the whole images that `room` lets in. An encoder
    on a card works on one window while the next is queued (see `encoded_windows`).

    Args:
        source: of the shard's samples.
        encoder: with weights loaded.
        writer: gets embeddings float16 (n, d), pixel signatures of images and which of them are blank, the rows' table
            and the rejected rows.
        metric: 'cosine' rejects embeddings of length zero, which have no direction.
        decode_threads: that read and decode while another encodes; 0 does one after the other.
        room: for whole images; None has room for 256 million bytes.
        on_progress: called with the samples done so far, and the speed.

    Raises:
        ShardError: if a file changed since the raw pool was listed, or storage fails.
    """
    from curation_assets.formats.images import pixel_signatures

    accepted, settings = accepted_rows(source.raw_pool), source.settings
    signatures, blank = [pixel_signatures([])], [np.empty(0, dtype=bool)]
    rows = EmbeddedRows(writer, dimension=encoder.dimension, metric=metric)
    n_truncated = 0
    samples = accepted_samples(source.reader, source.shard, accepted)
    windows = decoded_windows(
        samples, encoder, settings, n_threads=decode_threads, room=room or PixelRoom(_ROOM)
    )
    with ReadAhead(windows, in_background=decode_threads > 0) as ahead:
        throughput = Throughput(ahead.times, overlapped=ahead.in_background)
        for encoded in encoded_windows(ahead, encoder, throughput):
            with throughput.writing():
                for item in encoded.window.rejected:
                    rows.reject(item.raw_row, item.reason, item.detail)
                if encoded.embeddings is not None:
                    n_truncated += encoded.n_truncated
                    good = rows.add(encoded.embeddings, encoded.window.raw_rows)
                    if encoded.window.signatures:
                        signatures.append(np.concatenate(encoded.window.signatures)[good])
                        blank.append(np.array(encoded.window.blank)[good])
            if on_progress:
                on_progress(rows.n_seen, throughput.line(rows.n_seen))
    with throughput.writing():
        rows.finish(accepted)
        if settings.modality == "image":
            Embedded.signatures.write(writer, np.concatenate(signatures))
            blank_rows = np.flatnonzero(np.concatenate(blank)).astype(np.uint32)
            writer.summary["n_blank"] = len(blank_rows)
            if len(blank_rows):
                Embedded.blank.write(writer, blank_rows)
    writer.summary.update(
        encoder=encoder.identity, n_truncated=n_truncated, **throughput.summary(rows.n_seen)
    )
