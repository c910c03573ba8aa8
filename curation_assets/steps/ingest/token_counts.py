"""token_counts: how many tokens each accepted sample of a shard has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import polars as pl

from curation_assets.errors import ShardError
from curation_assets.formats.base import RawSample, RejectedSampleError
from curation_assets.formats.decoding import decode_sample
from curation_assets.formats.rows import is_token_count
from curation_assets.pools.source import EmbeddingsSource
from curation_assets.steps.context import StepContext
from curation_assets.steps.ingest.accepted import ShardSource, accepted_rows, accepted_samples, windows
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.tables import TokenCounts

if TYPE_CHECKING:
    from curation_assets.encoders.tokenizers import TokenCounter
    from curation_assets.pools import SourceSettings

_SCHEMA = TokenCounts.counts.schema
_WINDOW = 2048


def count_tokens(step: StepContext) -> None:
    """Store the tokens of a shard's accepted samples, see `count_samples`."""
    source = ShardSource.of(step)
    n_accepted = source.n_accepted

    def on_progress(done: int) -> None:
        step.report(done / max(1, n_accepted), f"{done:,} of {n_accepted:,} samples")

    count_samples(source, step.pool.token_counter(), step.writer, on_progress=on_progress)


def count_samples(
    source: ShardSource,
    counter: TokenCounter | None,
    writer: OutputWriter,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Count the tokens of a shard's accepted samples, reading them window by window.

    Args:
        source: of the shard's samples.
        counter: of texts; None for a source of embeddings, which has the counts in `token_count_field`.
        writer: gets the table `TokenCounts.counts`.
        on_progress: called with the samples done so far.

    Raises:
        ShardError: if a file changed since the raw pool was listed, storage fails, or `token_count_field` holds
            anything but whole numbers of at least 0.
    """
    settings = source.settings
    samples = accepted_samples(source.reader, source.shard, accepted_rows(source.raw_pool))
    if isinstance(settings, EmbeddingsSource):
        counted = _recorded(samples, settings)
        identity = {"kind": "token_count_field", "name": str(settings.token_count_field)}
    elif counter is not None:
        counted = _counted(samples, counter, settings)
        identity = counter.identity
    else:
        raise ValueError(f"samples of the source format '{settings.format}' need a counter of tokens")
    blocks = []
    n_done = 0
    for block in counted:
        blocks.append(block)
        n_done += len(block)
        if on_progress:
            on_progress(n_done)
    table = pl.concat([TokenCounts.counts.empty(), *blocks]).sort("raw_row")
    TokenCounts.counts.write(writer, table)
    counts = table["n_tokens"]
    writer.summary.update(
        tokenizer=identity,
        n_rows=len(table),
        n_tokens=int(counts.sum()),
        mean_tokens=round(float(counts.mean()), 2) if len(table) else None,  # type: ignore[arg-type]
        max_tokens=int(counts.max()) if len(table) else None,  # type: ignore[arg-type]
    )


def _counted(
    samples: Iterator[tuple[int, RawSample]], counter: TokenCounter, source: SourceSettings
) -> Iterator[pl.DataFrame]:
    decoded = ((row, _text(sample, source)) for row, sample in samples)
    for window in windows(decoded, _WINDOW):
        counts = counter.count([text for _, text in window])
        yield pl.DataFrame({"raw_row": [row for row, _ in window], "n_tokens": counts}, schema=_SCHEMA)


def _recorded(samples: Iterator[tuple[int, RawSample]], source: EmbeddingsSource) -> Iterator[pl.DataFrame]:
    recorded = ((row, _checked(sample, source.token_count_field)) for row, sample in samples)
    for window in windows(recorded, _WINDOW):
        yield pl.DataFrame(window, schema=_SCHEMA, orient="row")


def _text(sample: RawSample, source: SourceSettings) -> str:
    try:
        return str(decode_sample(sample, source))
    except RejectedSampleError as error:
        raise ShardError(
            f"{sample.file}, {sample.member}: accepted by the raw pool, but now {error}: run raw_pool again"
        ) from error


def _checked(sample: RawSample, field: str | None) -> int:
    value = sample.attributes.get(field) if field else None
    if is_token_count(value):
        return int(value)  # type: ignore[arg-type]
    # The reader rejects such rows, so the raw pool was made before it did.
    raise ShardError(
        f"{sample.file}, {sample.member}: source.token_count_field '{field}' is {value!r}: each sample needs a "
        f"whole number of tokens, 0 or more; run raw_pool again, which rejects the row"
    )
