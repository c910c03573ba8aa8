"""Gates that refuse settings which the samples rule out: as soon as the files are read, before hours of encoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from curation_assets.encoders.packages import require_encoder_packages
from curation_assets.errors import CurationError, PoolSpecError
from curation_assets.formats.base import RawSample, Rejection, ShardReader, SourceFile
from curation_assets.pools import EmbeddingsSource
from curation_assets.steps.comparison.labels_table import read_labels_table
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.ingest.repeated_ids import require_distinct_ids
from curation_assets.steps.ingest.sample_labels import unknown_labels
from curation_assets.steps.soundness import require_few_rejections
from curation_assets.storage.tables import RawPool, TokenCounts

_SAMPLES_LOOKED_AT = 100
_FIELDS_NAMED = 20


def require_feasible_pool(pool: PoolAccess) -> None:
    """Refuse settings that the pool's size rules out, labels that it lacks, and a source whose files are broken.

    Nothing is refused until every shard is read. Cleaning may leave fewer samples than are accepted here, so
    `require_feasible` looks again before the first fit.

    Raises:
        PoolSpecError: if level 1 has more clusters than the pool has samples, a target is too large, no sample has a
            label field, or the table of labels lacks a column.
        CurationError: if too many samples are rejected.
    """
    storage, spec = pool.storage, pool.spec
    keys = [shard.key for shard in storage.shards()]
    facts = storage.shard_facts(RawPool.asset)
    if not keys or not all(key in facts for key in keys):
        return
    # Embeddings may still be those of earlier files.
    require_few_rejections(spec, storage, [RawPool.asset])
    summaries = [facts[key].summary for key in keys]
    spec.require_feasible(sum(summary["n_accepted"] for summary in summaries))
    if spec.modality == "text":
        # No tokenizer makes more tokens than bytes.
        spec.require_tokens(_n_tokens(pool, keys) or sum(summary["size_bytes"] for summary in summaries))
    _require_labels(pool)
    if spec.probe and spec.probe.labels and storage.probe().facts() is None:
        read_labels_table(spec.probe.labels, Path(pool.home_folder))


def require_encodable_pool(pool: PoolAccess) -> None:
    """`require_feasible_pool`, an encoder whose packages are installed, and no id that stands for different samples.

    Raises:
        PoolSpecError: as `require_feasible_pool`; if a package is missing; if files repeat each other's ids.
        CurationError: if too many samples are rejected.
    """
    if pool.spec.encoder is not None:
        require_encoder_packages(pool.spec.encoder)
    require_feasible_pool(pool)
    storage = pool.storage
    made = storage.shard_facts(RawPool.asset)
    keys = [shard.key for shard in storage.shards() if shard.key in made]
    require_distinct_ids(storage, pool.spec.source, keys)


def require_sound_start(pool: PoolAccess, files: Sequence[SourceFile]) -> str:
    """Look at the first samples of the first file: whether they are usable, and have the labels.

    Args:
        pool: the pool.
        files: its files as listed.

    Returns:
        A warning about labels that none of these samples has, although others may; empty for none.

    Raises:
        PoolSpecError: if none of these samples is usable, or a label field is misspelt.
    """
    if not files or isinstance(pool.spec.source, EmbeddingsSource):
        return ""
    samples, is_whole = _first_samples(pool.reader, files)
    present = _fields(samples)
    missing = [name for name in pool.spec.source.label_fields if name not in present]
    for name in missing:
        message = _no_such_field(
            name, present, f"none of the first {len(samples)} samples of {files[0].path}"
        )
        if get_close_matches(name, present) or (is_whole and len(files) == 1):
            raise PoolSpecError(message)
        return message
    return ""


def require_sound_evaluation_sets(pool: PoolAccess, listed: Mapping[str, Sequence[SourceFile]]) -> None:
    """Look at the first samples of every evaluation set.

    Args:
        pool: the pool.
        listed: the files of its evaluation sets, by name.

    Raises:
        PoolSpecError: if none of them is usable.
    """
    sets = pool.spec.decontamination.evaluation_sets if pool.spec.decontamination else ()
    for entry in sets:
        if listed[entry.name] and not isinstance(entry.source, EmbeddingsSource):
            _first_samples(
                pool.evaluation_readers[entry.name], listed[entry.name], f"evaluation set {entry.name}: "
            )


def _first_samples(
    reader: ShardReader, files: Sequence[SourceFile], prefix: str = ""
) -> tuple[list[RawSample], bool]:
    """The first usable samples of the first file, and whether these are all of its samples."""
    found = list(islice(reader.read(files[0].path), _SAMPLES_LOOKED_AT))
    samples = [item for item in found if isinstance(item, RawSample)]
    rejections = [item for item in found if isinstance(item, Rejection)]
    if not samples and rejections:
        first = rejections[0]
        raise PoolSpecError(
            f"{prefix}none of the first {len(found)} samples of {files[0].path} is usable, e.g. "
            f"'{first.sample_id}': {first.reason.value}: {first.detail}"
        )
    return samples, len(found) < _SAMPLES_LOOKED_AT


def _n_tokens(pool: PoolAccess, keys: Sequence[str]) -> int | None:
    """Tokens of all accepted samples; None while a shard is not counted."""
    facts = pool.storage.shard_facts(TokenCounts.asset)
    return sum(facts[key].summary["n_tokens"] for key in keys) if all(key in facts for key in keys) else None


def _require_labels(pool: PoolAccess) -> None:
    """Refuse a label field that no sample has; one that is there but always empty may fill later."""
    missing = unknown_labels(pool.spec, pool.storage)
    shards = pool.storage.shards() if missing else []
    if not shards:
        return
    try:
        head = islice(pool.reader.read(shards[0].files[0].path), _SAMPLES_LOOKED_AT)
        present = _fields([item for item in head if isinstance(item, RawSample)])
    except CurationError:
        return
    for name in missing:
        if name not in present:
            raise PoolSpecError(_no_such_field(name, present, f"no sample of pool '{pool.spec.name}'"))


def _fields(samples: Sequence[RawSample]) -> list[str]:
    """Names of the fields of samples, in order of appearance."""
    return list(dict.fromkeys(str(name) for sample in samples for name in sample.attributes))


def _no_such_field(name: str, present: Sequence[str], who: str) -> str:
    close = get_close_matches(name, present)
    named = ", ".join(present[:_FIELDS_NAMED]) + (", ..." if len(present) > _FIELDS_NAMED else "")
    return f"source.label_fields names '{name}', which {who} has; there are {named or 'none'}" + (
        f": did you mean {' or '.join(close)}?" if close else ""
    )
