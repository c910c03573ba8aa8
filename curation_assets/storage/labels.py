"""The last sight of the table of labels, from which a change is recognized."""

from __future__ import annotations

from typing import Final

from upath import UPath

from curation_assets.formats.base import SourceFile
from curation_assets.formats.listed.versions import digested, earlier
from curation_assets.storage.documents import RELISTED, read_document, write_document
from curation_assets.storage.fingerprint import fingerprint

SIGHT_FILE: Final = "labels_table.json"


def save_labels_sight(pool_folder: UPath, file: SourceFile) -> None:
    """Store the digest of the table's size and version; nothing is rewritten if it did not change."""
    digest = _digest(file)
    if load_labels_digest(pool_folder) != digest:
        document = {"path": file.path, "size_bytes": file.size_bytes, "digest": digest}
        write_document(pool_folder / SIGHT_FILE, document)


def labels_changed(pool_folder: UPath, file: SourceFile) -> bool:
    """Whether the table differs from the one last seen; False before it was seen."""
    return load_labels_digest(pool_folder) not in (None, _digest(file))


def load_labels_digest(pool_folder: UPath) -> str | None:
    """A digest that changes with the table; None before it was seen."""
    document = read_document(pool_folder / SIGHT_FILE, RELISTED.format(pool=pool_folder.name))
    return None if document is None else str(document["digest"])


def _digest(file: SourceFile) -> str:
    return fingerprint(digested(earlier(file)))
