"""The rows that a pool's tree is fitted on: shards and their content, unchanged until a refit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from upath import UPath

from curation_assets.storage.documents import read_document, write_document
from curation_assets.storage.fingerprint import combined_digest

FIT_ROWS_FILE = "fit_rows.json"
_REMEDY = (
    "remove it with `curation-assets verify --pool {pool} --repair`; the next run takes the present rows for those of "
    "the tree, and fits the tree again if they differ"
)


@dataclass(frozen=True, slots=True)
class FittedShard:
    """One shard as the fit reads it."""

    digest: str
    """Digest of its rows: all embeddings or, in a cleaned pool, the admitted ones."""
    n_rows: int
    embeddings: str = ""
    """Digest of its embeddings, if only admitted ones are read."""

    @property
    def embedded(self) -> str:
        """Digest of all its embeddings."""
        return self.embeddings or self.digest


@dataclass(frozen=True, slots=True)
class FitRows:
    """All shards that a tree is fitted on, and why it was fitted on these."""

    shards: Mapping[str, FittedShard]
    encoder: str
    """Fingerprint of the settings and code that made and admitted the embeddings."""
    reason: str
    decided_at: str = ""

    @property
    def digest(self) -> str:
        """Digest of the rows' content."""
        return combined_digest({key: shard.digest for key, shard in self.shards.items()})

    @property
    def n_rows(self) -> int:
        """Rows of all shards."""
        return sum(shard.n_rows for shard in self.shards.values())


def load_fit_rows(pool_folder: UPath) -> FitRows | None:
    """The rows of the current tree; None before the first fit.

    Raises:
        DamagedFileError: if the file is damaged.
    """
    document = read_document(pool_folder / FIT_ROWS_FILE, _REMEDY.format(pool=pool_folder.name))
    if document is None:
        return None
    shards = {key: FittedShard(**shard) for key, shard in document.pop("shards").items()}
    return FitRows(shards=shards, **document)


def save_fit_rows(pool_folder: UPath, rows: FitRows) -> None:
    """Store what the next fit reads; sets `decided_at`."""
    document = asdict(rows) | {"decided_at": datetime.now(UTC).isoformat(timespec="seconds")}
    write_document(pool_folder / FIT_ROWS_FILE, document)
