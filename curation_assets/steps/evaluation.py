"""evaluation_sets: what must not be in the result, read and encoded as the pool is."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.formats import build_reader
from curation_assets.formats.base import (
    RawSample,
    RejectedSampleError,
    Rejection,
    RejectionReason,
    ShardReader,
)
from curation_assets.formats.decoding import decode_sample, inspect_sample
from curation_assets.pools import EmbeddingsSource, EvaluationSet, PoolSpec
from curation_assets.storage.embeddings import SIGNATURE_LENGTH
from curation_assets.storage.evaluation import (
    EMBEDDINGS,
    REJECTED,
    REJECTED_SCHEMA,
    SAMPLES,
    SAMPLES_SCHEMA,
    SIGNATURES,
)
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.pool_storage import PoolStorage

if TYPE_CHECKING:
    from curation_assets.encoders import Encoder

Readers = Mapping[str, ShardReader]
_ROWS_AT_A_TIME = 8192


class ArrayReader(Protocol):
    """What a reader of embeddings has besides `ShardReader`."""

    def array(self, file: str) -> np.ndarray:
        """The array of a file, (n, d); a sample's `offset` is its row."""
        ...


def stored_array(reader: ShardReader, file: str) -> np.ndarray:
    """The array of one file of a source of embeddings, (n, d)."""
    return cast(ArrayReader, reader).array(file)


def evaluation_readers(spec: PoolSpec, home: Path) -> dict[str, ShardReader]:
    """Readers of the pool's evaluation sets by name; none without decontamination.

    Args:
        spec: the pool.
        home: the project's folder.
    """
    entries = spec.decontamination.evaluation_sets if spec.decontamination else ()
    return {entry.name: build_reader(entry.source, home) for entry in entries}


def take_evaluation_listing(spec: PoolSpec, readers: Readers, storage: PoolStorage) -> None:
    """List the files of the evaluation sets, so that a change of one makes the step out of date.

    Raises:
        PoolSpecError: if the folder of a set does not exist or holds no matching file, naming the set.
    """
    if not spec.decontamination:
        return
    listing = {}
    for name, reader in readers.items():
        with _naming(name):
            listing[name] = reader.list_files()
    storage.save_evaluation_listing(listing)


def read_evaluation_sets(
    spec: PoolSpec,
    readers: Readers,
    encoder: Encoder | None,
    writer: OutputWriter,
    *,
    on_progress: Callable[[str, int], None] | None = None,
) -> None:
    """Digest and embed every sample of every set; one that cannot be decoded still counts by its bytes.

    Peak memory is one decoded window of the encoder, the embeddings in float16 and the samples' digests.

    Args:
        spec: the pool.
        readers: of its evaluation sets.
        encoder: the pool's; None for a pool that is embedded already.
        writer: gets the samples, their embeddings and pixel signatures, and what was rejected.
        on_progress: called with a set's name and its samples done so far.

    Raises:
        CurationError: naming the set that is missing or empty, has embeddings of another dimension, or of
            which more is rejected than its `max_rejected_share`.
    """
    entries = spec.decontamination.evaluation_sets if spec.decontamination else ()
    dimension = encoder.dimension if encoder else getattr(spec.source, "dimension", None)
    parts: list[_Samples] = []
    for entry in entries:
        with _naming(entry.name):
            part = _Samples(dimension, on_progress=_counter(on_progress, entry.name))
            for file in readers[entry.name].list_files():
                if isinstance(entry.source, EmbeddingsSource):
                    _read_embeddings(readers[entry.name], file.path, part)
                elif encoder is not None:
                    _read_samples(readers[entry.name], file.path, entry, encoder, part)
            _require_usable(entry, part)
            parts.append(part)
            dimension = part.dimension
    _write(writer, dict(zip([entry.name for entry in entries], parts, strict=True)), dimension or 0)
    writer.summary["encoder"] = encoder.identity if encoder else {}


@dataclass(slots=True)
class _Samples:
    """What was read of one set."""

    dimension: int | None
    on_progress: Callable[[int], None]
    ids: list[str] = field(default_factory=list)
    content: list[str | None] = field(default_factory=list)
    normalized: list[str | None] = field(default_factory=list)
    embedded: list[np.ndarray] = field(default_factory=list)
    """Numbers of the samples that have an embedding, int64, in the order of `blocks`."""
    blocks: list[np.ndarray] = field(default_factory=list)
    signatures: list[np.ndarray] = field(default_factory=list)
    rejected: list[tuple[str, str, str | None, str, str]] = field(default_factory=list)
    """sample_id, file, member, reason, detail."""
    n_refused: int = 0
    """Rejections by the reader, which are no samples."""

    def add(self, sample: RawSample, content_sha256: str | None) -> int:
        """Count a sample; returns its number."""
        self.ids.append(sample.sample_id)
        self.content.append(content_sha256)
        self.normalized.append(None)
        return len(self.ids) - 1

    def refuse(self, item: Rejection) -> None:
        """Note what the reader itself could not use."""
        self.n_refused += 1
        self.reject(item, item.reason, item.detail)

    def reject(self, item: RawSample | Rejection, reason: RejectionReason, detail: str) -> None:
        """Note why a sample has no embedding."""
        self.rejected.append((item.sample_id, item.file, item.member, reason.value, detail))

    def keep(self, numbered: list[tuple[int, RawSample]], block: np.ndarray) -> np.ndarray:
        """Take the embeddings that float16 holds and that have a direction; returns their positions."""
        if self.dimension is not None and block.shape[1] != self.dimension:
            raise CurationError(
                f"its embeddings have {block.shape[1]} dimensions, those of the pool {self.dimension}: embed both "
                f"with the same encoder"
            )
        self.dimension = block.shape[1]
        with np.errstate(over="ignore"):
            stored = block.astype(np.float16)
        good = np.isfinite(stored).all(axis=1) & stored.any(axis=1)
        for i in np.flatnonzero(~good):
            detail = "the embedding is zero, or holds NaN, infinity or values beyond float16"
            self.reject(numbered[i][1], RejectionReason.NON_FINITE_EMBEDDING, detail)
        self.embedded.append(np.array([number for number, _ in numbered], dtype=np.int64)[good])
        self.blocks.append(stored[good])
        self.on_progress(len(self.ids))
        return np.flatnonzero(good)


def _read_samples(
    reader: ShardReader, file: str, entry: EvaluationSet, encoder: Encoder, part: _Samples
) -> None:
    from curation_assets.formats.images import pixel_signatures

    decoded = _decoded(reader, file, entry, part)
    while batch := list(islice(decoded, encoder.window)):
        values = [value for _, _, value in batch]
        block = np.asarray(encoder.encode(values), dtype=np.float32)
        good = part.keep([(number, sample) for number, sample, _ in batch], block)
        if entry.source.modality == "image":
            part.signatures.append(pixel_signatures([values[i] for i in good]))


def _decoded(
    reader: ShardReader, file: str, entry: EvaluationSet, part: _Samples
) -> Iterator[tuple[int, RawSample, Any]]:
    for item in reader.read(file):
        if not isinstance(item, RawSample):
            part.refuse(item)
            continue
        number = part.add(item, hashlib.sha256(item.content).hexdigest())
        try:
            part.normalized[number] = inspect_sample(item, entry.source).normalized_sha256
            yield number, item, decode_sample(item, entry.source)
        except RejectedSampleError as error:
            part.reject(item, error.reason, error.detail)


def _read_embeddings(reader: ShardReader, file: str, part: _Samples) -> None:
    array = stored_array(reader, file)
    items = reader.read(file)
    while batch := list(islice(items, _ROWS_AT_A_TIME)):
        samples = [item for item in batch if isinstance(item, RawSample)]
        for item in batch:
            if not isinstance(item, RawSample):
                part.refuse(item)
        if samples:
            block = np.asarray(array[[sample.offset for sample in samples]], dtype=np.float32)
            part.keep([(part.add(sample, None), sample) for sample in samples], block)


def _require_usable(entry: EvaluationSet, part: _Samples) -> None:
    counts = Counter(reason for _, _, _, reason, _ in part.rejected)
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in counts.most_common(3))
    if not any(part.content) and not any(map(len, part.embedded)):
        raise CurationError(
            f"it holds no sample that could be compared{f' ({reasons})' if reasons else ''}: correct its source"
        )
    n_seen = len(part.ids) + part.n_refused
    share = len(part.rejected) / n_seen
    if share > entry.source.max_rejected_share:
        raise CurationError(
            f"{share:.0%} of its {n_seen:,} samples are rejected ({reasons}), more than its source's "
            f"max_rejected_share = {entry.source.max_rejected_share:.0%}: mend its files, or raise it"
        )


def _write(writer: OutputWriter, sets: Mapping[str, _Samples], dimension: int) -> None:
    tables = [pl.DataFrame(schema=SAMPLES_SCHEMA)]
    n_embedded = n_signatures = 0
    for name, part in sets.items():
        row = np.full(len(part.ids), -1, dtype=np.int64)
        numbers = np.concatenate([np.empty(0, dtype=np.int64), *part.embedded])
        row[numbers] = np.arange(len(numbers))
        found = pl.Series(row >= 0)
        signed = found if part.signatures else pl.Series(np.zeros(len(row), dtype=bool))
        tables.append(
            pl.DataFrame(
                {
                    "set": [name] * len(row),
                    "sample_id": part.ids,
                    "content_sha256": part.content,
                    "normalized_sha256": part.normalized,
                    "embedding_row": pl.select(pl.when(found).then(pl.Series(row + n_embedded))).to_series(),
                    "signature_row": pl.select(
                        pl.when(signed).then(pl.Series(row + n_signatures))
                    ).to_series(),
                },
                schema=SAMPLES_SCHEMA,
            )
        )
        n_embedded += len(numbers)
        n_signatures += sum(map(len, part.signatures))
    blocks = [block for part in sets.values() for block in part.blocks]
    signatures = [block for part in sets.values() for block in part.signatures]
    rejected = [(name, *row) for name, part in sets.items() for row in part.rejected]
    table = pl.concat(tables)
    writer.table(SAMPLES, table)
    writer.array(EMBEDDINGS, np.concatenate([np.empty((0, dimension), dtype=np.float16), *blocks]))
    writer.array(SIGNATURES, np.concatenate([np.empty((0, SIGNATURE_LENGTH), dtype=np.uint8), *signatures]))
    writer.table(REJECTED, pl.DataFrame(rejected, schema=REJECTED_SCHEMA, orient="row"))
    writer.summary.update(
        n_rows=len(table),
        dimension=dimension,
        samples={name: len(part.ids) for name, part in sets.items()},
        embedded={name: sum(map(len, part.embedded)) for name, part in sets.items()},
        rejected={name: len(part.rejected) for name, part in sets.items()},
        rejections=dict(sorted(Counter(row[4] for row in rejected).items())),
    )


def _counter(on_progress: Callable[[str, int], None] | None, name: str) -> Callable[[int], None]:
    return (lambda done: on_progress(name, done)) if on_progress else (lambda _: None)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Let errors say which evaluation set they are about."""
    try:
        yield
    except CurationError as error:
        raise type(error)(f"evaluation set '{name}': {error}") from error
