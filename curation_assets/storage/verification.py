"""Reads everything that is stored of a pool and compares it with what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from upath import UPath

from curation_assets.errors import DamagedFileError
from curation_assets.locations import is_local
from curation_assets.storage.atomic import TEMPORARY_PREFIX, read_whole
from curation_assets.storage.documents import is_sealed, unsealed
from curation_assets.storage.evaluation import LISTING_FILE
from curation_assets.storage.fit_rows import FIT_ROWS_FILE
from curation_assets.storage.labels import SIGHT_FILE
from curation_assets.storage.listing.files_table import TABLE_PREFIX
from curation_assets.storage.outputs import FACTS, Output, parse_facts
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import LEFT_OUT_FILE, SHARDS_FILE, table_of
from curation_assets.storage.trees import HISTORY, TREES, TreeArchive

DOCUMENTS = (SHARDS_FILE, LEFT_OUT_FILE, FIT_ROWS_FILE, LISTING_FILE, SIGHT_FILE, f"{TREES}/{HISTORY}")
"""Documents of a pool that belong to no output, by path below its folder."""
_READ_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file to verify."""

    path: str
    """Below the pool's folder."""
    asset: str
    """What it belongs to; empty for documents of the pool."""
    shard: str | None
    tree: str
    """Version of an archived tree; empty for what is in use."""
    digest: str
    """SHA-256 as recorded; empty for facts and documents, which carry their own."""
    size_bytes: int | None
    """As recorded; None if it is not."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what was written."""

    file: StoredFile
    what: str
    """What is wrong, in words."""

    @property
    def remedy(self) -> str:
        """What makes it again."""
        if self.file.path == f"{TREES}/{HISTORY}":
            return "written again from the archived trees"
        if not self.file.asset:
            return "written again by the next run"
        if self.file.tree:
            return f"archived tree {self.file.tree}: archived again if it is in use, else left out of comparisons"
        return f"made again by the step {self.file.asset}"


def stored_files(storage: PoolStorage) -> Iterator[StoredFile]:
    """Everything that facts and documents name; facts come before the files that they name."""
    for name in DOCUMENTS:
        if (storage.folder / name).exists():
            yield StoredFile(name, "", None, "", "", None)
    yield from _listed_table(storage.folder)
    yield from _of_outputs(storage.folder, storage.folder, "")
    archive = storage.folder / TREES
    for folder in sorted(archive.iterdir(), key=str) if archive.exists() else ():
        if folder.is_dir():
            yield from _of_outputs(storage.folder, folder, folder.name)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What reading a file gave."""

    damage: Damage | None
    n_bytes: int
    has_digest: bool = True
    """False for facts and documents that carry no digest of themselves: only their form was checked."""


def verify_file(storage: PoolStorage, file: StoredFile) -> Verdict:
    """Read a file and compare it with what was written. Memory: 4 MB, or the size of a document."""
    path = storage.folder / file.path
    try:
        return _verify_content(path, file) if file.digest else _verify_document(path, file)
    except FileNotFoundError:
        return Verdict(Damage(file, "is missing"), 0)


def _verify_document(path: UPath, file: StoredFile) -> Verdict:
    content = read_whole(path)
    damage = None
    try:
        unsealed(content)
    except ValueError as error:
        damage = Damage(file, f"is damaged: {error}")
    if damage is None and file.asset and parse_facts(content) is None:
        damage = Damage(file, "is damaged: it is not facts of an output")
    return Verdict(damage, len(content), is_sealed(content))


def _verify_content(path: UPath, file: StoredFile) -> Verdict:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as opened:
        while block := opened.read(_READ_AT_ONCE):
            digest.update(block)
            size += len(block)
    damage = None
    if file.size_bytes not in (None, size):
        damage = Damage(file, f"has {size:,} bytes instead of {file.size_bytes:,}")
    elif digest.hexdigest() != file.digest:
        damage = Damage(file, "has other bytes than were written")
    return Verdict(damage, size)


def mark_for_repair(storage: PoolStorage, damage: Damage) -> None:
    """Remove a damaged file, so that the next run makes it again.

    The facts of an output in use stay: a fit is then repeated on the rows that it had. Of an archived tree the whole
    output goes, and with it the facts of `tree`, which archives the tree in use again.
    """
    file = damage.file
    (storage.folder / file.path).unlink(missing_ok=True)
    if file.path.startswith(TABLE_PREFIX) and not file.asset:
        # Without its table the index says nothing of files.
        (storage.folder / SHARDS_FILE).unlink(missing_ok=True)
    if file.path == f"{TREES}/{HISTORY}":
        TreeArchive(storage).rebuild_history()
    if not file.tree:
        return
    output = TreeArchive(storage).storage(file.tree).output(file.asset, file.shard)
    if facts := output.facts():
        output.path(FACTS).unlink(missing_ok=True)
        output.remove_files(facts)
    storage.output("tree").path(FACTS).unlink(missing_ok=True)


def _listed_table(folder: UPath) -> Iterator[StoredFile]:
    """The table of files that the index of shards names, if the index is whole."""
    try:
        table = table_of(folder)
    except DamagedFileError:
        return
    if table:
        yield StoredFile(table.name, "", None, "", table.sha256, table.n_bytes)


def _of_outputs(pool: UPath, folder: UPath, tree: str) -> Iterator[StoredFile]:
    """Facts of every output below a folder, and the files that they name."""
    for asset in sorted(folder.iterdir(), key=str) if folder.exists() else ():
        if asset.name == TREES or not asset.is_dir():
            continue
        for path in sorted(asset.iterdir(), key=str):
            if not path.name.endswith(FACTS) or path.name.startswith(TEMPORARY_PREFIX):
                continue
            shard = path.name.removesuffix(FACTS).removesuffix(".") or None
            yield StoredFile(_below(pool, path), asset.name, shard, tree, "", None)
            output = Output(asset, shard)
            facts = output.facts()
            if facts is None:
                continue
            for name, digest in sorted(facts.files.items()):
                place = _below(pool, output.path(name))
                yield StoredFile(place, asset.name, shard, tree, digest, facts.sizes.get(name))


def _below(pool: UPath, path: UPath) -> str:
    root = str(pool) if is_local(pool) else pool.path
    return (str(path) if is_local(path) else path.path).removeprefix(root).lstrip("/")
