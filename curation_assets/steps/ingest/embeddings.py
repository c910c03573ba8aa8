"""The embeddings step: encodes the accepted samples of a shard, or takes over the embeddings that the pool brings."""

from __future__ import annotations

from curation_assets.steps.context import PoolAccess, StepContext
from curation_assets.steps.ingest.accepted import ShardSource
from curation_assets.steps.ingest.decoded_windows import resolve_decode_threads
from curation_assets.steps.ingest.embed import embed_samples
from curation_assets.steps.ingest.precomputed import take_embeddings
from curation_assets.steps.ingest.repeated_ids import require_distinct_ids


def require_feasible_pool(pool: PoolAccess) -> None:
    """Refuse settings that the pool's size rules out, and ids that files share, before hours of encoding.

    Raises:
        PoolSpecError: if level 1 has more clusters than the pool has samples, a target is too large, or one id stands
            for different samples.
    """
    made = {shard.key: pool.storage.raw_pool(shard.key).facts() for shard in pool.storage.shards()}
    if all(made.values()):
        pool.spec.require_feasible(sum(facts.summary["n_accepted"] for facts in made.values() if facts))
    require_distinct_ids(
        pool.storage, pool.spec.source, [key for key, facts in made.items() if facts is not None]
    )


def embed_shard(step: StepContext) -> None:
    """Write a shard's embeddings, see `embed_samples` and `take_embeddings`. Each process loads the encoder once."""
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
        decode_threads=resolve_decode_threads(spec.encoder.decode_threads),
        on_progress=on_progress,
    )
