"""The rows a pool's tree is fitted on: which shards, with which content. They stay as they are until a refit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from upath import UPath

from curation_assets.storage.atomic import read_whole, write_text
from curation_assets.storage.fingerprint import combined_digest

FIT_ROWS_FILE = "fit_rows.json"


@dataclass(frozen=True, slots=True)
class FittedShard:
    """One shard as the fit read it."""

    digest: str
    """Of its rows: of its embeddings or, in a cleaned pool, of the admitted ones."""
    n_rows: int
    embeddings: str = ""
    """Digest of its embeddings, if only the admitted ones of them were read."""

    @property
    def embedded(self) -> str:
        """Digest of all its embeddings."""
        return self.embeddings or self.digest


@dataclass(frozen=True, slots=True)
class FitRows:
    """All shards a tree is fitted on, and why it was (re)fitted on just these."""

    shards: Mapping[str, FittedShard]
    encoder: str
    """Fingerprint of the settings and code that made the embeddings and chose among them."""
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
    """The rows of the present tree; None before the first fit."""
    try:
        document = json.loads(read_whole(pool_folder / FIT_ROWS_FILE))
    except FileNotFoundError:
        return None
    shards = {key: FittedShard(**shard) for key, shard in document.pop("shards").items()}
    return FitRows(shards=shards, **document)


def save_fit_rows(pool_folder: UPath, rows: FitRows) -> None:
    """Decide what the next fit reads; `decided_at` is set here."""
    document = asdict(rows) | {"decided_at": datetime.now(UTC).isoformat(timespec="seconds")}
    write_text(pool_folder / FIT_ROWS_FILE, json.dumps(document, indent=1))
