"""The seams for file formats: readers that yield samples or recorded rejections, and dataset writers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


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
    """Changes whenever the file does: modification time in ns, or the object store's ETag."""


@dataclass(frozen=True, slots=True)
class RawSample:
    """One sample as it lies in a file of the pool."""

    sample_id: str
    file: str
    """`SourceFile.path` of the file that holds it."""
    member: str
    """Where it is inside the file: name of its member in a tar, else `row 17` or the like."""
    offset: int
    """Byte offset of its data inside the file, or its row; identifies the sample even if ids repeat."""
    content: bytes
    """The encoded image, or the text as UTF-8; empty for a sample that is embedded already."""
    parts: Mapping[str, bytes]
    """Every member of the sample, its content too, by lower-case extension (without dot), in file order."""
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


class RejectedSampleError(Exception):
    """Raised while one sample is decoded; becomes a `Rejection`."""

    def __init__(self, reason: RejectionReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ShardReader(ABC):
    """Lists the files of a pool and streams their samples."""

    @abstractmethod
    def list_files(self) -> list[SourceFile]:
        """Every file of the pool, sorted by path.

        Raises:
            PoolSpecError: if the pool's folder does not exist or holds no matching file.
        """

    def is_closed(self, file: SourceFile) -> bool:
        """Whether a file ends as its format demands; one that is still being written usually does not."""
        return True

    @abstractmethod
    def read(self, file: str) -> Iterator[RawSample | Rejection]:
        """Stream one file in its own order, holding one sample in memory at a time.

        Whatever is wrong inside the file (truncation, a member that cannot be parsed, an id seen before in
        this file, no sample at all) comes out as a `Rejection`; only a missing file raises.

        Raises:
            ShardError: if the file does not exist or storage fails.
        """


class DatasetWriter(ABC):
    """Writes the selected samples of one shard; used as a context manager around `write` calls."""

    suffix: str
    """Of the files it makes, e.g. `tar`."""

    @abstractmethod
    def write(self, sample: RawSample, record: Mapping[str, Any]) -> None:
        """Add one sample and its curation record (id, source, clusters, distance, labels)."""

    @abstractmethod
    def __enter__(self) -> DatasetWriter: ...

    @abstractmethod
    def __exit__(self, *exc_info: object) -> None: ...
