"""The table of a large pool's files: rows of a Parquet file in the order of the shards, read shard by shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, overload

from upath import UPath

from curation_assets.errors import DamagedFileError, StaleInputError
from curation_assets.formats.base import SourceFile
from curation_assets.formats.listed.versions import digested
from curation_assets.locations import is_local
from curation_assets.storage.atomic import read_whole, staged_file
from curation_assets.storage.documents import RELISTED
from curation_assets.storage.fingerprint import file_digest, fingerprint

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

TABLE_PREFIX, TABLE_SUFFIX = "files-", ".parquet"
_ROWS_OF_A_GROUP = 16_384
"""At least; a row group holds whole shards."""


def files_digest(files: Sequence[SourceFile]) -> str:
    """A digest that changes with any of the files; what they are only watched by is not part of it."""
    return fingerprint([digested(file) for file in files])


def seal_of(files: Sequence[SourceFile]) -> str:
    """A digest of the list as it is stored."""
    return fingerprint([[file.path, file.size_bytes, file.version] for file in files])[:16]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table holds the files of a shard."""

    row_group: int
    start: int
    """First row inside the row group."""
    n_files: int


@dataclass(frozen=True, slots=True, eq=False)
class StoredFiles(Sequence[SourceFile]):
    """The files of one shard, read from the table when they are used and not kept.

    Raises:
        DamagedFileError: on use, if the table is missing, cut or changed.
    """

    table: UPath
    place: Place
    digest: str
    """`files_digest` of the files."""
    seal: str
    """`seal_of` the files."""
    n_bytes: int

    def __len__(self) -> int:
        return self.place.n_files

    @overload
    def __getitem__(self, index: int) -> SourceFile: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[SourceFile]: ...

    def __getitem__(self, index: int | slice) -> SourceFile | Sequence[SourceFile]:
        return _checked(self.table, self.place, self.seal)[index]

    def __iter__(self) -> Iterator[SourceFile]:
        return iter(_checked(self.table, self.place, self.seal))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StoredFiles):
            return self.seal == other.seal
        return isinstance(other, Sequence) and len(self) == len(other) and seal_of(other) == self.seal

    def __hash__(self) -> int:
        return hash(self.seal)

    def unchecked(self) -> tuple[SourceFile, ...]:
        """The files without a look at their digest: for those who compare them with files they know."""
        try:
            return _read(self.table, self.place)
        except Exception:
            # Says in words what is wrong, or finds the files elsewhere.
            return tuple(self)


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What an index says of its table."""

    name: str
    sha256: str
    n_bytes: int


def write_table(
    folder: UPath, name: str, lists: Sequence[Sequence[SourceFile]]
) -> tuple[TableFacts, list[Place]]:
    """Write the table of the files of all shards. Memory: one row group.

    Args:
        folder: of the pool.
        name: of the table.
        lists: the files of each shard.

    Returns:
        Facts of the table, and where it holds each shard.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("path", pa.string()), ("size_bytes", pa.int64()), ("version", pa.string())])
    places: list[Place] = []
    with staged_file(folder / name) as staged:
        with pq.ParquetWriter(staged, schema, compression="zstd", write_page_checksum=True) as writer:
            pending: list[SourceFile] = []
            row_group = 0
            for number, files in enumerate(lists):
                places.append(Place(row_group, len(pending), len(files)))
                pending += files
                if len(pending) >= _ROWS_OF_A_GROUP or (number == len(lists) - 1 and pending):
                    columns = [
                        pa.array([file.path for file in pending], pa.string()),
                        pa.array([file.size_bytes for file in pending], pa.int64()),
                        pa.array([file.version for file in pending], pa.string()),
                    ]
                    writer.write_table(pa.table(columns, schema=schema), row_group_size=len(pending))
                    row_group += 1
                    pending = []
        facts = TableFacts(name, file_digest(staged), staged.stat().st_size)
    return facts, places


def remove_tables(folder: UPath, but: Sequence[str]) -> None:
    """Remove tables of earlier listings, except those named."""
    for path in tables_in(folder):
        if path.name not in but:
            path.unlink(missing_ok=True)


def tables_in(folder: UPath) -> list[UPath]:
    """Every table of a pool's folder."""
    if not folder.exists():
        return []
    return [
        path
        for path in folder.iterdir()
        if path.name.startswith(TABLE_PREFIX) and path.name.endswith(TABLE_SUFFIX)
    ]


@lru_cache(maxsize=4)
def _checked(table: UPath, place: Place, seal: str) -> tuple[SourceFile, ...]:
    remedy = RELISTED.format(pool=table.parent.name)
    try:
        files = _read(table, place)
    except FileNotFoundError:
        return _from_newer_table(table, seal, remedy)
    # Arrow reports damage in many ways, among them OSError, ValueError and its own.
    except Exception as error:
        words = " ".join(str(error).split())
        raise DamagedFileError(f"{table} is damaged ({type(error).__name__}: {words}): {remedy}") from error
    if seal_of(files) != seal:
        raise DamagedFileError(f"{table} is damaged (it holds other files than were listed): {remedy}")
    return files


def _from_newer_table(table: UPath, seal: str, remedy: str) -> tuple[SourceFile, ...]:
    """The same files in the table that has replaced this one since the index was read."""
    from curation_assets.storage.shards import load_known_shards

    for shard in load_known_shards(table.parent):
        if isinstance(shard.files, StoredFiles) and shard.files.seal == seal:
            if shard.files.table.name == table.name:
                raise DamagedFileError(f"{table} is missing: {remedy}")
            return _checked(shard.files.table, shard.files.place, seal)
    raise StaleInputError("the files of a shard were listed anew while they were read: run the step again")


def _read(table: UPath, place: Place) -> tuple[SourceFile, ...]:
    rows = _row_group(str(table) if is_local(table) else table, place.row_group)
    columns = rows.slice(place.start, place.n_files).to_pydict()
    return tuple(map(SourceFile, columns["path"], columns["size_bytes"], columns["version"]))


@lru_cache(maxsize=2)
def _row_group(table: str | UPath, number: int) -> pa.Table:
    return _opened(table).read_row_group(number)


def _opened(table: str | UPath) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(table, str):
        # Opened by path: memory holds what is read, not the table.
        if not Path(table).exists():
            raise FileNotFoundError(table)
        return pq.ParquetFile(table, page_checksum_verification=True)
    return pq.ParquetFile(pa.BufferReader(read_whole(table)), page_checksum_verification=True)
