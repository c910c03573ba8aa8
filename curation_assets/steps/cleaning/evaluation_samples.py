"""Samples of evaluation sets: how they are collected and stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from curation_assets.errors import CurationError
from curation_assets.formats.base import RawSample, Rejection, RejectionReason
from curation_assets.steps.ingest.embedded_rows import as_stored
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.tables import SIGNATURE_LENGTH, EvaluationSets


@dataclass(slots=True)
class SetSamples:
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
    """Items that the reader rejected, which do not count as samples."""

    def add(self, sample: RawSample, content_sha256: str | None) -> int:
        """Count a sample; returns its number."""
        self.ids.append(sample.sample_id)
        self.content.append(content_sha256)
        self.normalized.append(None)
        return len(self.ids) - 1

    def refuse(self, item: Rejection) -> None:
        """Record a sample that the reader rejected."""
        self.n_refused += 1
        self.reject(item, item.reason, item.detail)

    def reject(self, item: RawSample | Rejection, reason: RejectionReason, detail: str) -> None:
        """Record why a sample has no embedding."""
        self.rejected.append((item.sample_id, item.file, item.member, reason.value, detail))

    def keep(self, numbered: list[tuple[int, RawSample]], block: np.ndarray) -> np.ndarray:
        """Keep the embeddings that fit into float16 and have a direction; returns their positions."""
        if self.dimension is not None and block.shape[1] != self.dimension:
            raise CurationError(
                f"its embeddings have {block.shape[1]} dimensions, those of the pool {self.dimension}: embed both "
                f"with the same encoder"
            )
        self.dimension = block.shape[1]
        stored, fits, has_direction = as_stored(block, "cosine")
        good = fits & has_direction
        for i in np.flatnonzero(~good):
            detail = "the embedding is zero, or holds NaN, infinity or values beyond float16"
            self.reject(numbered[i][1], RejectionReason.NON_FINITE_EMBEDDING, detail)
        self.embedded.append(np.array([number for number, _ in numbered], dtype=np.int64)[good])
        self.blocks.append(stored[good])
        self.on_progress(len(self.ids))
        return np.flatnonzero(good)

    def require_usable(self, max_rejected_share: float) -> None:
        """Refuse a set that is too incomplete for its samples to be kept out of the result.

        Raises:
            CurationError: if none of its samples can be compared, or too large a share is rejected.
        """
        counts = Counter(reason for _, _, _, reason, _ in self.rejected)
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in counts.most_common(3))
        if not any(self.content) and not any(map(len, self.embedded)):
            raise CurationError(
                f"it holds no sample that could be compared{f' ({reasons})' if reasons else ''}: correct its source"
            )
        # A sample that was never downloaded cannot be compared, and says nothing about the files.
        absent = counts[RejectionReason.DOWNLOAD_FAILED.value]
        n_seen = len(self.ids) + self.n_refused - absent
        share = (len(self.rejected) - absent) / n_seen
        if share > max_rejected_share:
            raise CurationError(
                f"{share:.0%} of its {n_seen:,} samples are rejected ({reasons}), more than its source's "
                f"max_rejected_share = {max_rejected_share:.0%}: fix its files or raise it"
            )


def write_samples(writer: OutputWriter, sets: Mapping[str, SetSamples], dimension: int) -> None:
    """Store sets one after the other."""
    tables = [EvaluationSets.samples.empty()]
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
                schema=EvaluationSets.samples.schema,
            )
        )
        n_embedded += len(numbers)
        n_signatures += sum(map(len, part.signatures))
    blocks = [block for part in sets.values() for block in part.blocks]
    signatures = [block for part in sets.values() for block in part.signatures]
    rejected = [(name, *row) for name, part in sets.items() for row in part.rejected]
    table = pl.concat(tables)
    no_embedding = np.empty((0, dimension), dtype=np.float16)
    no_signature = np.empty((0, SIGNATURE_LENGTH), dtype=np.uint8)
    refused = pl.DataFrame(rejected, schema=EvaluationSets.rejected.schema, orient="row")
    EvaluationSets.samples.write(writer, table)
    EvaluationSets.embeddings.write(writer, np.concatenate([no_embedding, *blocks]))
    EvaluationSets.signatures.write(writer, np.concatenate([no_signature, *signatures]))
    EvaluationSets.rejected.write(writer, refused)
    writer.summary.update(
        n_rows=len(table),
        dimension=dimension,
        samples={name: len(part.ids) for name, part in sets.items()},
        embedded={name: sum(map(len, part.embedded)) for name, part in sets.items()},
        rejected={name: len(part.rejected) for name, part in sets.items()},
        rejections=dict(sorted(Counter(row[4] for row in rejected).items())),
    )
