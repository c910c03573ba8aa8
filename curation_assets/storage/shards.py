"""Shards: groups of a pool's files, each a partition of the graph; their list is stored beside the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from upath import UPath

from curation_assets.formats.base import SourceFile
from curation_assets.formats.listed.versions import digested, first_seen, recorded
from curation_assets.storage.atomic import read_whole
from curation_assets.storage.documents import RELISTED, read_document, unsealed, write_document
from curation_assets.storage.fingerprint import fingerprint
from curation_assets.storage.shard_keys import new_keys

SHARDS_FILE = "shards.json"
LEFT_OUT_FILE = "left_out.json"


@dataclass(frozen=True, slots=True)
class Shard:
    """One or more files of the pool that are processed together."""

    key: str
    files: tuple[SourceFile, ...]
    set_aside: str = ""
    """Why the shard is currently excluded; empty for a shard that takes part."""

    @property
    def source_digest(self) -> str:
        """A digest that changes with any file of the shard."""
        return fingerprint([digested(file) for file in self.files])


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
    shards = [
        Shard(shard.key, kept)
        for shard in known
        if (
            kept := tuple(
                recorded(file, listed.pop(file.path)) for file in shard.files if file.path in listed
            )
        )
    ]
    new = sorted(map(first_seen, listed.values()), key=lambda file: file.path)
    groups = [tuple(new[start : start + files_per_shard]) for start in range(0, len(new), files_per_shard)]
    keys = new_keys([[file.path for file in group] for group in groups], [shard.key for shard in shards])
    shards += map(Shard, keys, groups)
    return sorted(shards, key=lambda shard: shard.key)


@dataclass(frozen=True, slots=True)
class ListingChange:
    """What a new listing changed."""

    shards: list[Shard]
    """Every shard, including those set aside."""
    new: list[str]
    changed: list[str]
    gone: list[str]

    @property
    def summary(self) -> str:
        """The changes, for people; empty if there are none."""
        parts = [
            f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for what, keys in (("new", self.new), ("changed", self.changed), ("gone", self.gone))
            if keys
        ]
        return ", ".join(parts)


def relisted(files: Sequence[SourceFile], files_per_shard: int, known: Sequence[Shard]) -> ListingChange:
    """The shards of a new listing, see `group_files`, beside the known ones.

    A shard that was set aside stays so while its files are the same.
    """
    before = {shard.key: shard for shard in known}
    now = {shard.key: shard for shard in group_files(files, files_per_shard, known)}
    same = {
        key
        for key in now.keys() & before.keys()
        if now[key].files == before[key].files or now[key].source_digest == before[key].source_digest
    }
    return ListingChange(
        [
            replace(shard, set_aside=before[key].set_aside) if key in same else shard
            for key, shard in now.items()
        ],
        new=sorted(now.keys() - before.keys()),
        changed=sorted((now.keys() & before.keys()) - same),
        gone=sorted(before.keys() - now.keys()),
    )


def locate(starts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shard number and row inside the shard of pool rows, int64 (m,); `starts` is int64 (n_shards + 1,)."""
    shard = np.searchsorted(starts, rows, side="right") - 1
    return shard, rows - starts[shard]


def load_shards(pool_folder: UPath) -> list[Shard]:
    """The shards of the last listing; empty before the first listing."""
    document = read_document(pool_folder / SHARDS_FILE, RELISTED.format(pool=pool_folder.name))
    if document is None:
        return []
    return [
        Shard(entry["key"], tuple(SourceFile(**file) for file in entry["files"]), entry.get("set_aside", ""))
        for entry in document["shards"]
    ]


def save_shards(pool_folder: UPath, shards: Sequence[Shard]) -> None:
    """Store the list of shards."""
    write_document(pool_folder / SHARDS_FILE, {"shards": [asdict(shard) for shard in shards]})


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
