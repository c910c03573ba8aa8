"""The embeddings step: encodes the accepted samples of a shard, or takes over the embeddings that the pool brings."""

from __future__ import annotations

from curation_assets.steps.context import StepContext
from curation_assets.steps.ingest.accepted import ShardSource
from curation_assets.steps.ingest.decoded_windows import resolve_decode_threads
from curation_assets.steps.ingest.embed import embed_samples
from curation_assets.steps.ingest.pixel_room import PixelRoom
from curation_assets.steps.ingest.precomputed import take_embeddings


def embed_shard(step: StepContext) -> None:
    """Write a shard's embeddings, see `embed_samples` and `take_embeddings`. Each process loads the encoder once."""
    from curation_assets.algorithms.costs.planning import PROCESS_BYTES

    spec, source = step.spec, ShardSource.of(step)
    n_accepted = source.n_accepted

    def on_progress(done: int, speed: str) -> None:
        step.report(done / max(1, n_accepted), f"{done:,} of {n_accepted:,} samples, {speed}")

    encoder, metric = step.pool.encoder(), spec.preprocessing.metric
    if encoder is None or spec.encoder is None:
        take_embeddings(
            source, step.writer, encoder=spec.encoder_name, metric=metric, on_progress=on_progress
        )
        return
    embed_samples(
        source,
        encoder,
        step.writer,
        metric=metric,
        room=PixelRoom(spec.memory_budget - PROCESS_BYTES),
        decode_threads=resolve_decode_threads(spec.encoder.decode_threads),
        on_progress=on_progress,
    )
