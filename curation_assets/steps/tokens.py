"""token_counts: the tokens of every accepted sample of a shard, counted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curation_assets.errors import ShardError
from curation_assets.formats.base import RawSample, ShardReader
from curation_assets.formats.decoding import decode_sample
from curation_assets.pools import EmbeddingsSource, SourceSettings
from curation_assets.steps.ingest import TABLE as RAW_TABLE
from curation_assets.storage.outputs import Output, OutputWriter
from curation_assets.storage.shards import Shard

if TYPE_CHECKING:
    from curation_assets.encoders.tokenizers import TokenCounter

TABLE = "parquet"
_SCHEMA: dict[str, Any] = {"raw_row": pl.UInt32, "n_tokens": pl.Int64}
_TEXTS_AT_ONCE = 1024


def count_tokens(
    reader: ShardReader,
    shard: Shard,
    raw_pool: Output,
    counter: TokenCounter | None,
    source: SourceSettings,
    writer: OutputWriter,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Store the tokens of a shard's accepted samples, in the order of the raw pool.

    Args:
        reader: of the pool's format.
        shard: its files.
        raw_pool: the shard's raw pool.
        counter: of texts; None for a source of embeddings, which has a column of counts.
        source: settings of the pool's source.
        writer: gets raw_row and n_tokens. Peak memory is 1,024 texts and 12 bytes a row.
        on_progress: called with the samples done so far.

    Raises:
        ShardError: if a file changed since the raw pool was listed, storage fails, or a stored count is none.
    """
    table = raw_pool.table(RAW_TABLE, ["file", "offset", "reason"]).with_row_index("raw_row")
    accepted = table.filter(pl.col("reason").is_null())
    expected = {(file, offset): row for row, file, offset, _ in accepted.iter_rows()}
    samples = _accepted(reader, shard, expected)
    rows: list[int] = []
    counts: list[np.ndarray] = []
    while window := list(islice(samples, _TEXTS_AT_ONCE)):
        rows += [row for row, _ in window]
        found = [sample for _, sample in window]
        if isinstance(source, EmbeddingsSource):
            counts.append(np.array([_stored_count(sample, source) for sample in found], dtype=np.int64))
        elif counter is not None:
            counts.append(counter.count([decode_sample(sample, source) for sample in found]))
        if on_progress:
            on_progress(len(rows))
    if missing := len(expected) - len(rows):
        raise ShardError(
            f"shard '{shard.key}': {missing} samples of the raw pool are no longer in its files: run raw_pool again"
        )
    tokens = np.concatenate([np.empty(0, dtype=np.int64), *counts])
    writer.table(TABLE, pl.DataFrame({"raw_row": rows, "n_tokens": tokens}, schema=_SCHEMA).sort("raw_row"))
    writer.summary.update(
        n_rows=len(rows),
        n_tokens=int(tokens.sum()),
        mean_tokens=round(float(tokens.mean()), 2) if len(tokens) else None,
        most_tokens=int(tokens.max(initial=0)),
        tokenizer=counter.identity if counter else {"tokenizer": f"column {_count_field(source)}"},
    )


def _accepted(
    reader: ShardReader, shard: Shard, expected: dict[tuple[str, int], int]
) -> Iterator[tuple[int, RawSample]]:
    for file in shard.files:
        for item in reader.read(file.path):
            if isinstance(item, RawSample) and (row := expected.get((file.path, item.offset))) is not None:
                yield row, item


def _stored_count(sample: RawSample, source: EmbeddingsSource) -> int:
    value = sample.attributes.get(str(source.token_count_field))
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ShardError(
            f"{sample.file}: {sample.member}: {source.token_count_field} is {value!r}: source.token_count_field must "
            f"name a column of whole numbers from 0"
        )
    return value


def _count_field(source: SourceSettings) -> str:
    return str(source.token_count_field) if isinstance(source, EmbeddingsSource) else ""
