"""Base classes of the file formats: readers that yield samples or rejections, and dataset writers."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation_assets.formats.accounts import Account


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_OBJECT = re.compile(r"<([\w.]+) object>")
MOST_CHARACTERS = 1_000
"""Of a rejection's detail; ids, names and values in it may have any length."""


class RejectionReason(StrEnum):
    """Why a sample, or a whole file, of the pool cannot be used."""

    NOT_AN_IMAGE = "not_an_image"
    CORRUPT_IMAGE = "corrupt_image"
    IMAGE_TOO_LARGE = "image_too_large"
    NO_IMAGE_MEMBER = "no_image_member"
    NO_TEXT_MEMBER = "no_text_member"
    INVALID_UTF8 = "invalid_utf8"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LARGE = "text_too_large"
    UNREADABLE_MEMBER = "unreadable_member"
    INVALID_ID = "invalid_id"
    MISSING_FIELD = "missing_field"
    DOWNLOAD_FAILED = "download_failed"
    INVALID_JSON = "invalid_json"
    DUPLICATE_ID = "duplicate_id"
    TRUNCATED_FILE = "truncated_file"
    UNREADABLE_FILE = "unreadable_file"
    EMPTY_FILE = "empty_file"
    NON_FINITE_EMBEDDING = "non_finite_embedding"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the pool as a listing shows it."""

    path: str
    """Path relative to the pool's folder, with forward slashes."""
    size_bytes: int
    version: str
    """Changes whenever the file does; see `listed.versions`."""


@dataclass(frozen=True, slots=True)
class RawSample:
    """One sample as a file of the pool holds it."""

    sample_id: str
    file: str
    """`SourceFile.path` of the file that holds it."""
    member: str
    """Its place inside the file: the name of a tar's member, or e.g. `row 17`."""
    offset: int
    """Byte offset of its data in the file, or its row; identifies the sample even if ids repeat."""
    content: bytes
    """The encoded image, or the text as UTF-8; empty for a precomputed embedding."""
    parts: Mapping[str, bytes]
    """All members of the sample, content included, by lower-case extension (without dot), in file order."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """The sample's JSON or its other columns, or empty."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A sample, or a file, that cannot be used, and why."""

    sample_id: str
    """The sample's id; for a whole file its path."""
    file: str
    member: str | None
    reason: RejectionReason
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", repeatable(self.detail))


def repeatable(detail: str) -> str:
    """The text of an error without the addresses of objects, which are others in every process; at most 1,000 long."""
    found = _OBJECT.sub(r"<\1>", _ADDRESS.sub("", detail))
    half = MOST_CHARACTERS // 2
    return found if len(found) <= MOST_CHARACTERS else f"{found[:half]} ... {found[-half:]}"


class _RejectionError(Exception):
    def __init__(self, reason: RejectionReason, detail: str) -> None:
        self.reason = reason
        self.detail = repeatable(detail)
        super().__init__(f"{reason}: {self.detail}")


class RejectedSampleError(_RejectionError):
    """One sample cannot be used; becomes a `Rejection` of the sample."""


class DamagedFileError(_RejectionError):
    """A file cannot be read further; what came before is whole. Becomes a `Rejection` of the file.

    Args:
        reason: of the rejection.
        detail: of the rejection.
        member: of a tar, the member whose data is cut, if the cut is in one.
    """

    def __init__(self, reason: RejectionReason, detail: str, member: str | None = None) -> None:
        super().__init__(reason, detail)
        self.member = member


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a pool, and what lies beside them."""

    files: list[SourceFile]
    """Sorted by path."""
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Files that are not of the pool: cause -> extension -> how many; see `accounts`."""
    held_back: frozenset[str] = frozenset()
    """Paths of links that lead out of the pool's folder, if the pool does not say whether to follow them."""


class ShardReader(ABC):
    """Lists the files of a pool and streams their samples."""

    memory_budget: int | None = None
    """Bytes that the process may take, where a format needs to know; None for the least."""

    @abstractmethod
    def look(self) -> Listing:
        """Every file of the pool, and counts of what was seen beside them.

        Raises:
            PoolSpecError: if the pool's folder does not exist, holds no matching file, or a folder below it cannot be
                listed: a listing is whole or fails, so that nothing counts as removed that was not seen.
        """

    def list_files(self) -> list[SourceFile]:
        """The files of `look`."""
        return self.look().files

    def is_closed(self, file: SourceFile) -> bool:
        """Whether a file ends as its format requires; a file that is still being written usually does not.

        A file that does not begin as its format requires never becomes complete. It counts as closed, so that its
        shard reports what is wrong.
        """
        return True

    @abstractmethod
    def read(self, file: str, account: Account | None = None) -> Iterator[RawSample | Rejection]:
        """Stream one file in its own order, holding one sample in memory at a time.

        Every fault inside the file (truncation, a member that cannot be parsed, a repeated id, no sample at all)
        is yielded as a `Rejection`.

        Args:
            file: `SourceFile.path`.
            account: a fresh one, which gets what became of everything in the file; complete when the stream ends.

        Raises:
            ShardError: if the file does not exist or storage fails, or if something in the file has no fate.
        """


class DatasetWriter(ABC):
    """Writes the selected samples of one shard; used as a context manager around `write` calls."""

    @abstractmethod
    def write(self, sample: RawSample, record: Mapping[str, Any]) -> None:
        """Add one sample and its curation record (id, source, clusters, distance, labels)."""

    @abstractmethod
    def __enter__(self) -> DatasetWriter: ...

    @abstractmethod
    def __exit__(self, *exc_info: object) -> None: ...
