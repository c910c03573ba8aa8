"""raw_pool: one row per sample of a shard, accepted or rejected with its reason."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict
from typing import Any

import polars as pl

from curation_assets.formats.accounts import Account, LeftOutCounts
from curation_assets.formats.base import RawSample, RejectedSampleError, Rejection, RejectionReason
from curation_assets.formats.decoding import inspect_sample
from curation_assets.pools import SourceSettings
from curation_assets.steps.context import StepContext
from curation_assets.steps.ingest.accepted import extras_digest
from curation_assets.storage.tables import LABEL_PREFIX, RawPool


def ingest_shard(step: StepContext) -> None:
    """List a shard's samples without decoding them, and judge what headers reveal.

    Writes the table `RawPool.samples`; `reason` is null for accepted samples.

    Raises:
        ShardError: if a file is missing or storage fails.
    """
    settings, shard, writer = step.spec.source, step.shard, step.writer
    first_seen: dict[str, str] = {}
    left_out = LeftOutCounts()
    rows = []
    for file in shard.files:
        account = Account()
        rows += [
            _row(item, settings, first_seen) for item in step.pool.reader.read(file.path, account=account)
        ]
        left_out.merge(account.left_out.counts())
    labels = {f"{LABEL_PREFIX}{name}": pl.String for name in settings.label_fields}
    schema = {**RawPool.samples.schema, RawPool.EXTRAS: pl.String, **labels}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    RawPool.samples.write(writer, table)
    if settings.modality == "embedding":
        # These samples have no bytes to digest. Without this, edited vectors would not change the output.
        writer.text(RawPool.VERSIONS, shard.source_digest)
    # Places move when something before them gets longer; what was made of the samples stays true.
    content = [name for name in RawPool.samples.schema if name != "offset"]
    for part, columns in {RawPool.CONTENT: content, RawPool.LABELLED: [*content, *labels]}.items():
        if (known := _unchanged_digest(step, table, part, columns)) is not None:
            writer.parts[part] = known
    rejections = Counter(table["reason"].drop_nulls().to_list())
    writer.summary.update(
        n_rows=table.height,
        n_accepted=table["reason"].null_count(),
        n_rejected=sum(rejections.values()),
        rejections=dict(sorted(rejections.items())),
        size_bytes=int(table["size_bytes"].sum() or 0),
        n_left_out=left_out.total,
        left_out=left_out.counts(),
    )
    n_accepted, n_rejected = writer.summary["n_accepted"], writer.summary["n_rejected"]
    step.report(1.0, f"{n_accepted:,} accepted, {n_rejected:,} rejected")


def _unchanged_digest(step: StepContext, table: pl.DataFrame, part: str, columns: list[str]) -> str | None:
    """Digest by which other steps know these columns of the stored output, if those of the new one are the same.

    Then only other columns differ, and steps that do not read them stay up to date. None if there is nothing to compare
    with.
    """
    stored = step.storage.raw_pool(step.shard.key)
    facts = stored.facts()
    if facts is None:
        return None
    is_embedded, versions = step.spec.source.modality == "embedding", RawPool.VERSIONS
    if is_embedded and facts.files.get(versions) != step.writer.digest(versions):
        return None
    # The same bytes need no reading; they may be made again because the stored file is lost.
    if facts.files.get(RawPool.samples.name) == step.writer.digest(RawPool.samples.name):
        return facts.digest_of(part)
    try:
        same = stored.samples.read(*columns).equals(table.select(columns))
    except (OSError, pl.exceptions.PolarsError):
        # Labels are others, or the file is damaged, which is no reason not to replace it.
        return None
    return facts.digest_of(part) if same else None


def hash_id(sample_id: str) -> int:
    """64-bit hash of a sample id. Random draws are decided by it, so they depend on the id and nothing else."""
    return int.from_bytes(hashlib.blake2b(sample_id.encode(), digest_size=8).digest(), "little")


def _row(item: RawSample | Rejection, settings: SourceSettings, first_seen: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "sample_id": item.sample_id,
        "id_hash": hash_id(item.sample_id),
        "file": item.file,
        "member": item.member,
    }
    if isinstance(item, Rejection):
        return row | _why(item.reason, item.detail)
    row |= {
        "offset": item.offset,
        "size_bytes": len(item.content),
        # Samples that came embedded have no content; hashing it would make all of them duplicates.
        "content_sha256": hashlib.sha256(item.content).hexdigest() if item.content else None,
        RawPool.EXTRAS: extras_digest(item),
    }
    for name in settings.label_fields:
        value = item.attributes.get(name)
        row[f"{LABEL_PREFIX}{name}"] = None if value is None else str(value)
    if item.sample_id in first_seen:
        return row | _why(
            RejectionReason.DUPLICATE_ID, f"also in {first_seen[item.sample_id]}, which is kept"
        )
    first_seen[item.sample_id] = f"{item.file}: {item.member}"
    try:
        facts = inspect_sample(item, settings)
    except RejectedSampleError as error:
        return row | _why(error.reason, error.detail)
    return row | asdict(facts)


def _why(reason: RejectionReason, detail: str) -> dict[str, str]:
    return {"reason": reason.value, "detail": detail}
