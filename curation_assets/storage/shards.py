"""Shards: groups of a pool's files, each a partition of the graph; their list is stored beside the outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from upath import UPath

from curation_assets.errors import DamagedFileError
from curation_assets.formats.base import SourceFile
from curation_assets.formats.listed.versions import first_seen, recorded
from curation_assets.storage.atomic import read_whole
from curation_assets.storage.documents import RELISTED, read_document, unsealed, write_document
from curation_assets.storage.fingerprint import fingerprint
from curation_assets.storage.listing.files_table import (
    TABLE_PREFIX,
    TABLE_SUFFIX,
    Place,
    StoredFiles,
    TableFacts,
    files_digest,
    remove_tables,
    seal_of,
    write_table,
)
from curation_assets.storage.shard_keys import new_keys

SHARDS_FILE = "shards.json"
LEFT_OUT_FILE = "left_out.json"
_MOST_FILES_INSIDE = 1_000
_FILES_PER_SHARD_INSIDE = 2
"""A listing of more files than both allow keeps them in a table beside it."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One or more files of the pool that are processed together."""

    key: str
    files: Sequence[SourceFile]
    """A tuple, or files that are read from the table of a large pool when they are used."""
    set_aside: str = ""
    """Why the shard is currently excluded; empty for a shard that takes part."""
    gone_since: str = ""
    """When its files left the listing; empty while it has any. It is kept for files that come back."""

    @property
    def source_digest(self) -> str:
        """A digest that changes with any file of the shard."""
        return self.files.digest if isinstance(self.files, StoredFiles) else files_digest(self.files)

    @property
    def n_bytes(self) -> int:
        """Size of its files."""
        if isinstance(self.files, StoredFiles):
            return self.files.n_bytes
        return sum(file.size_bytes for file in self.files)


def group_files(
    files: Sequence[SourceFile], files_per_shard: int, known: Sequence[Shard] = ()
) -> list[Shard]:
    """Group the listed files of a pool into shards, keeping the groups of an earlier listing.

    Known files stay in their shard, with their new size and version; removed files leave it; new files form new
    shards in the order of their paths. Adding files never changes an existing shard.

    Returns:
        Shards in the order of their keys; see `new_keys` for those of new shards.
    """
    listed = {file.path: file for file in files}
    shards = []
    for shard in known:
        stored = shard.files.unchecked() if isinstance(shard.files, StoredFiles) else shard.files
        kept = tuple(recorded(file, listed.pop(file.path)) for file in stored if file.path in listed)
        if kept == stored:
            shards.append(Shard(shard.key, shard.files))
            continue
        # Files that differ may be damage of the table.
        if isinstance(shard.files, StoredFiles) and seal_of(stored) != shard.files.seal:
            shard.files[0]
        if kept:
            shards.append(Shard(shard.key, kept))
    new = sorted(map(first_seen, listed.values()), key=lambda file: file.path)
    groups = [tuple(new[start : start + files_per_shard]) for start in range(0, len(new), files_per_shard)]
    keys = new_keys([[file.path for file in group] for group in groups], [shard.key for shard in known])
    shards += map(Shard, keys, groups)
    return sorted(shards, key=lambda shard: shard.key)


@dataclass(frozen=True, slots=True)
class ListingChange:
    """What a new listing changed."""

    shards: list[Shard]
    """Every listed shard, including those set aside."""
    new: list[str]
    changed: list[str]
    gone: list[str]
    back: list[str] = field(default_factory=list)
    """Shards that were gone in the last listing."""
    away: list[Shard] = field(default_factory=list)
    """Shards without files: those that are gone now, and those that were already."""
    n_files_left: int = 0
    """Files that were listed and are no more."""

    @property
    def summary(self) -> str:
        """The changes, for people; empty if there are none."""
        parts = [
            f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for what, keys in (
                ("new", self.new), ("changed", self.changed), ("back", self.back), ("gone", self.gone),
            )
            if keys
        ]  # fmt: skip
        return ", ".join(parts)


def relisted(files: Sequence[SourceFile], files_per_shard: int, known: Sequence[Shard]) -> ListingChange:
    """The shards of a new listing, see `group_files`, beside the known ones.

    A shard that was set aside stays so while its files are the same. Files that come back join the shard they were in.
    """
    before = {shard.key: shard for shard in known}
    now = {shard.key: shard for shard in group_files(files, files_per_shard, known)}
    stayed = {key for key in now.keys() & before.keys() if not before[key].gone_since}
    # An unchanged shard comes with the very files it had, or with more that a replacement is known by.
    same = {
        key
        for key in stayed
        if now[key].files is before[key].files or now[key].source_digest == before[key].source_digest
    }
    away = [shard for key, shard in before.items() if key not in now]
    gone = sorted(shard.key for shard in away if not shard.gone_since)
    changed = sorted(stayed - same)
    left = sum(len(before[key].files) for key in gone)
    left += sum(len(before[key].files) - len(now[key].files) for key in changed)
    return ListingChange(
        [
            replace(shard, set_aside=before[key].set_aside) if key in same else shard
            for key, shard in now.items()
        ],
        new=sorted(now.keys() - before.keys()),
        changed=changed,
        gone=gone,
        back=sorted(now.keys() & before.keys() - stayed),
        away=away,
        n_files_left=left,
    )


def locate(starts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shard number and row inside the shard of pool rows, int64 (m,); `starts` is int64 (n_shards + 1,)."""
    shard = np.searchsorted(starts, rows, side="right") - 1
    return shard, rows - starts[shard]


def load_shards(pool_folder: UPath) -> list[Shard]:
    """The shards of the last listing; empty before the first listing."""
    return [shard for shard in load_known_shards(pool_folder) if not shard.gone_since]


def load_known_shards(pool_folder: UPath) -> list[Shard]:
    """The shards of the last listing, and those that are kept for files that come back."""
    document = _load_index(pool_folder)
    if document is None:
        return []
    table = pool_folder / document["table"]["name"] if "table" in document else None
    return [
        Shard(
            entry["key"],
            tuple(SourceFile(**file) for file in entry["files"])
            if table is None
            else StoredFiles(table, Place(*entry["place"]), entry["digest"], entry["seal"], entry["n_bytes"]),
            entry.get("set_aside", ""),
            entry.get("gone_since", ""),
        )
        for entry in document["shards"]
    ]


def table_of(pool_folder: UPath) -> TableFacts | None:
    """The table that the index names; None if it holds the files itself, or does not exist.

    Raises:
        DamagedFileError: if the index is cut or changed.
    """
    document = _load_index(pool_folder)
    return TableFacts(**document["table"]) if document and "table" in document else None


def save_shards(pool_folder: UPath, shards: Sequence[Shard]) -> None:
    """Store the list of shards. The index names its table, so that both change at once."""
    if not _needs_table(shards):
        write_document(pool_folder / SHARDS_FILE, {"shards": [_with_files(shard) for shard in shards]})
        remove_tables(pool_folder, [])
        return
    earlier, seals = _earlier_table(pool_folder), [_seal(shard) for shard in shards]
    name = f"{TABLE_PREFIX}{fingerprint(seals)[:16]}{TABLE_SUFFIX}"
    if earlier and earlier.name == name and all(isinstance(shard.files, StoredFiles) for shard in shards):
        facts, places = earlier, [shard.files.place for shard in shards]  # type: ignore[attr-defined]
    else:
        facts, places = write_table(pool_folder, name, [shard.files for shard in shards])
    entries = [
        {
            "key": shard.key,
            "n_bytes": shard.n_bytes,
            "digest": shard.source_digest,
            "seal": seal,
            "place": [place.row_group, place.start, place.n_files],
        }
        | _marks(shard)
        for shard, seal, place in zip(shards, seals, places, strict=True)
    ]
    write_document(pool_folder / SHARDS_FILE, {"shards": entries, "table": asdict(facts)})
    # Whoever read the index before still finds its table.
    remove_tables(pool_folder, [name, *([earlier.name] if earlier else [])])


def listing_stamp(pool_folder: UPath) -> str:
    """A digest of the stored listing; empty before the first."""
    try:
        return hashlib.sha256(read_whole(pool_folder / SHARDS_FILE)).hexdigest()
    except FileNotFoundError:
        return ""


def is_to_be_saved(shards: Sequence[Shard], known: Sequence[Shard]) -> bool:
    """Whether shards differ from the known ones, or are stored in the form of releases before 0.6."""
    in_table = any(isinstance(shard.files, StoredFiles) for shard in known)
    return list(shards) != list(known) or _needs_table(shards) != in_table


def _load_index(pool_folder: UPath) -> dict[str, Any] | None:
    return read_document(pool_folder / SHARDS_FILE, RELISTED.format(pool=pool_folder.name))


def _earlier_table(pool_folder: UPath) -> TableFacts | None:
    try:
        return table_of(pool_folder)
    except DamagedFileError:
        return None


def _seal(shard: Shard) -> str:
    return shard.files.seal if isinstance(shard.files, StoredFiles) else seal_of(shard.files)


def _needs_table(shards: Sequence[Shard]) -> bool:
    n_files = sum(len(shard.files) for shard in shards)
    return n_files > max(_MOST_FILES_INSIDE, _FILES_PER_SHARD_INSIDE * len(shards))


def _with_files(shard: Shard) -> dict[str, Any]:
    return {"key": shard.key, "files": [asdict(file) for file in shard.files], "set_aside": ""} | _marks(
        shard
    )


def _marks(shard: Shard) -> dict[str, str]:
    marks = {"set_aside": shard.set_aside, "gone_since": shard.gone_since}
    return {name: value for name, value in marks.items() if value}


def load_left_out(pool_folder: UPath) -> dict[str, dict[str, int]]:
    """What the last listing left out: cause -> extension -> how many files.

    Empty before a listing, and while the file is damaged: the next listing writes it again.
    """
    try:
        document = unsealed(read_whole(pool_folder / LEFT_OUT_FILE))
        return {cause: {kind: int(n) for kind, n in kinds.items()} for cause, kinds in document.items()}
    except (FileNotFoundError, ValueError, AttributeError, TypeError):
        return {}


def save_left_out(pool_folder: UPath, left_out: Mapping[str, Mapping[str, int]]) -> None:
    """Store what a listing left out, if it differs from what is stored."""
    counts = {cause: dict(kinds) for cause, kinds in left_out.items()}
    if counts != load_left_out(pool_folder):
        write_document(pool_folder / LEFT_OUT_FILE, counts)
