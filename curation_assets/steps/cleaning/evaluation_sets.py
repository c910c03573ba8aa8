"""evaluation_sets: the samples that must not be in the result, read and encoded like the pool."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from curation_assets.errors import CurationError
from curation_assets.formats.base import RawSample, RejectedSampleError, Rejection, ShardReader, SourceFile
from curation_assets.formats.decoding import decode_sample, inspect_sample
from curation_assets.pools import EmbeddingsSource, EvaluationSet, PoolSpec
from curation_assets.steps.cleaning.evaluation_samples import SetSamples, write_samples
from curation_assets.steps.context import PoolAccess, StepContext
from curation_assets.storage.evaluation import save_evaluation_listing
from curation_assets.storage.outputs import OutputWriter

if TYPE_CHECKING:
    from curation_assets.encoders import Encoder
    from curation_assets.formats.embeddings import EmbeddingsReader

Readers = Mapping[str, ShardReader]


def list_evaluation_sets(readers: Readers) -> dict[str, list[SourceFile]]:
    """The files of every evaluation set.

    Raises:
        PoolSpecError: if the folder of a set does not exist or holds no matching file, naming the set.
    """
    listing = {}
    for name, reader in readers.items():
        with _naming(name):
            listing[name] = reader.list_files()
    return listing


def take_evaluation_listing(pool: PoolAccess) -> None:
    """Record the files of the evaluation sets as they are now, so that a change makes the step out of date.

    Raises:
        PoolSpecError: as `list_evaluation_sets`.
    """
    if pool.spec.decontamination:
        save_evaluation_listing(pool.storage.folder, list_evaluation_sets(pool.evaluation_readers))


def read_evaluation_sets(step: StepContext) -> None:
    """Digest and embed every sample of every set, see `embed_evaluation_sets`."""
    readers = step.pool.evaluation_readers
    names = list(readers)

    def on_progress(name: str, done: int) -> None:
        step.report(names.index(name) / len(names), f"{name}: {done:,} samples")

    embed_evaluation_sets(step.spec, readers, step.pool.encoder(), step.writer, on_progress=on_progress)


def embed_evaluation_sets(
    spec: PoolSpec,
    readers: Readers,
    encoder: Encoder | None,
    writer: OutputWriter,
    *,
    on_progress: Callable[[str, int], None] = lambda _name, _done: None,
) -> None:
    """Digest and embed every sample of every set. A sample that cannot be decoded still counts by its bytes.

    Peak memory is one decoded window of the encoder, the embeddings in float16 and the samples' digests.

    Args:
        spec: the pool.
        readers: of its evaluation sets.
        encoder: the pool's; None for a pool of embeddings.
        writer: gets the samples, their embeddings and pixel signatures, and what was rejected.
        on_progress: called with a set's name and its samples done so far.

    Raises:
        CurationError: naming the set that is missing or empty, has embeddings of another dimension, or exceeds its
            `max_rejected_share`.
    """
    entries = spec.decontamination.evaluation_sets if spec.decontamination else ()
    dimension = encoder.dimension if encoder else getattr(spec.source, "dimension", None)
    parts: list[SetSamples] = []
    for entry in entries:
        with _naming(entry.name):
            part = SetSamples(dimension, on_progress=partial(on_progress, entry.name))
            files = readers[entry.name].list_files()
            if isinstance(entry.source, EmbeddingsSource):
                for file in files:
                    _read_embeddings(readers[entry.name], file.path, part)
            elif encoder is not None:
                _read_samples(readers[entry.name], files, entry, encoder, part)
            part.require_usable(entry.source.max_rejected_share)
            parts.append(part)
            dimension = part.dimension
    write_samples(writer, dict(zip([entry.name for entry in entries], parts, strict=True)), dimension or 0)
    writer.summary["encoder"] = encoder.identity if encoder else {}


def _read_samples(
    reader: ShardReader, files: Sequence[SourceFile], entry: EvaluationSet, encoder: Encoder, part: SetSamples
) -> None:
    # Across files, because in a folder each holds one sample, and a batch of one wastes the encoder.
    items = (item for file in files for item in reader.read(file.path))
    prepared = _prepared(items, entry, encoder, part)
    while batch := list(islice(prepared, encoder.window)):
        block = np.asarray(encoder.encode_prepared([sample.value for sample in batch]), dtype=np.float32)
        good = part.keep([(sample.number, sample.raw) for sample in batch], block)
        signatures = [batch[i].signature for i in good]
        part.signatures += [signature for signature in signatures if signature is not None]


@dataclass(frozen=True, slots=True)
class _Prepared:
    number: int
    raw: RawSample
    value: Any
    """As `Encoder.prepare` leaves it."""
    signature: np.ndarray | None


def _prepared(
    items: Iterator[RawSample | Rejection], entry: EvaluationSet, encoder: Encoder, part: SetSamples
) -> Iterator[_Prepared]:
    """Decode samples one by one, so that only one whole image is in memory."""
    from curation_assets.formats.images import pixel_signatures

    is_image = entry.source.modality == "image"
    for item in _accepted(items, part):
        number = part.add(item, hashlib.sha256(item.content).hexdigest())
        try:
            part.normalized[number] = inspect_sample(item, entry.source).normalized_sha256
            sample = decode_sample(item, entry.source, least_side=encoder.least_side)
        except RejectedSampleError as error:
            part.reject(item, error.reason, error.detail)
            continue
        yield _Prepared(
            number, item, encoder.prepare(sample), pixel_signatures([sample]) if is_image else None
        )


def _read_embeddings(reader: ShardReader, file: str, part: SetSamples) -> None:
    samples = _accepted(reader.read(file), part)
    waiting = next(samples, None)
    start = 0
    for block in cast("EmbeddingsReader", reader).read_array(file):
        batch: list[RawSample] = []
        while waiting is not None and waiting.offset < start + len(block):
            batch.append(waiting)
            waiting = next(samples, None)
        if batch:
            rows = np.asarray(block[[sample.offset - start for sample in batch]])
            part.keep([(part.add(sample, None), sample) for sample in batch], rows)
        start += len(block)


def _accepted(items: Iterator[RawSample | Rejection], part: SetSamples) -> Iterator[RawSample]:
    for item in items:
        if isinstance(item, RawSample):
            yield item
        else:
            part.refuse(item)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name the evaluation set in errors."""
    try:
        yield
    except CurationError as error:
        raise type(error)(f"evaluation set '{name}': {error}") from error
