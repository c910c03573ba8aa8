"""The last listing of the evaluation sets' files, from which a change is recognized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from upath import UPath

from curation_assets.formats.base import SourceFile
from curation_assets.formats.listed.versions import digested, earlier
from curation_assets.storage.documents import RELISTED, read_document, write_document
from curation_assets.storage.fingerprint import combined_digest, fingerprint

LISTING_FILE: Final = "evaluation_sets.json"


Listing = Mapping[str, Sequence[SourceFile]]
"""Files by evaluation set."""


def save_evaluation_listing(pool_folder: UPath, listing: Listing) -> None:
    """Store the digest of each evaluation set's files; the file is not rewritten if nothing changed."""
    sets = _entries(listing)
    if _load(pool_folder) != sets:
        write_document(pool_folder / LISTING_FILE, {"sets": sets})


def evaluation_files_changed(pool_folder: UPath, listing: Listing) -> bool:
    """Whether a listing differs from the stored one; False before the first."""
    stored = _load(pool_folder)
    return stored is not None and stored != _entries(listing)


def listed_sets(pool_folder: UPath) -> dict[str, dict[str, Any]]:
    """`n_files`, `size_bytes` and `digest` of each evaluation set as it was last listed."""
    return _load(pool_folder) or {}


def load_evaluation_digest(pool_folder: UPath) -> str | None:
    """A digest that changes with any file of an evaluation set; None before the first listing."""
    sets = _load(pool_folder)
    if sets is None:
        return None
    return combined_digest({name: str(entry["digest"]) for name, entry in sets.items()})


def _entries(listing: Listing) -> dict[str, Any]:
    return {
        name: {
            "n_files": len(files),
            "size_bytes": sum(file.size_bytes for file in files),
            "digest": fingerprint([digested(earlier(file)) for file in files]),
        }
        for name, files in listing.items()
    }


def _load(pool_folder: UPath) -> dict[str, Any] | None:
    document = read_document(pool_folder / LISTING_FILE, RELISTED.format(pool=pool_folder.name))
    return document and dict(document["sets"])
