"""What became of everything that a reader sees: rows, rejections, parts of samples, and what is left out, by kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath

from curation_assets.errors import ShardError
from curation_assets.formats.base import RawSample, Rejection, RejectionReason

_EXTENSION = re.compile(r"\.[a-z0-9]{1,8}")
_LINE_BREAK = re.compile("[\n\r]")
_KINDS_KEPT = 30
_KINDS_SHOWN = 6
NO_EXTENSION = "no extension"
"""Kind of a name without an extension."""
OTHER_KINDS = "other"
"""Kind of all names beyond the first thirty kinds."""


class Cause(StrEnum):
    """Why a file, a folder or a member is left out; the words follow its number."""

    UNKNOWN_EXTENSION = "without a known extension"
    HIDDEN = "named with '.' or '_' at the beginning"
    UNFINISHED = "named like an unfinished download"
    SIDECAR = "beside another file that it describes"
    NOT_MATCHED = "that source.pattern does not match"
    FOLDER = "that source.pattern does not enter"
    LISTED_ALREADY = "to a folder that is listed already"
    LEADS_OUT = "to a file outside of source.path (source.follow_links: anywhere reads it)"
    FOLDER_LEADS_OUT = "to a folder outside of source.path (source.follow_links: anywhere reads it)"
    COMPANION = "that go with datasets (README, LICENSE, ...)"
    SPECIAL = "of another kind (pipe, socket, device)"
    LINK = "linking to nothing in its tar"
    HIDDEN_MEMBER = "with a name that WebDataset skips"


_NOUNS = {
    Cause.FOLDER: "folder", Cause.LISTED_ALREADY: "link", Cause.LEADS_OUT: "link", Cause.FOLDER_LEADS_OUT: "link",
}  # fmt: skip
_QUIET = (Cause.COMPANION,)
LeftOut = Mapping[str, Mapping[str, int]]
"""Cause -> extension -> how many; for folders and links their name in place of the extension."""


class LeftOutCounts:
    """Counts what is left out, by cause and extension."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}

    def add(self, cause: Cause, name: str) -> None:
        """Count one more.

        Args:
            cause: why it is left out.
            name: of the file or member, of which the extension is kept.
        """
        self._kind(cause, PurePosixPath(name).name if cause in _NOUNS else extension_of(name), 1)

    def merge(self, other: LeftOut) -> None:
        """Add the counts of another listing or file."""
        for cause, kinds in other.items():
            for kind, count in kinds.items():
                self._kind(cause, kind, count)

    def _kind(self, cause: str, kind: str, count: int) -> None:
        kinds = self._counts.setdefault(str(cause), Counter())
        # Names may end in anything: the counts stay small.
        kinds[kind if kind in kinds or len(kinds) < _KINDS_KEPT else OTHER_KINDS] += count

    @property
    def total(self) -> int:
        """All that is left out."""
        return sum(kinds.total() for kinds in self._counts.values())

    def counts(self) -> dict[str, dict[str, int]]:
        """The counts, sorted, as JSON takes them."""
        return {cause: dict(sorted(self._counts[cause].items())) for cause in sorted(self._counts)}


def extension_of(name: str) -> str:
    """Lower-case extension with its dot; `no extension` for a name without one, and for endings of other characters."""
    found = PurePosixPath(name).suffix.lower()
    return found if _EXTENSION.fullmatch(found) else NO_EXTENSION


def standing(left_out: LeftOut) -> LeftOut:
    """The counts without unfinished downloads, which come and go while a pool grows."""
    return {cause: kinds for cause, kinds in left_out.items() if cause != Cause.UNFINISHED}


@dataclass(frozen=True, slots=True)
class LeftOutLine:
    """What is left out for one cause, in words."""

    n: int
    what: str
    """What is counted and why it is left out: `files without a known extension`."""
    kinds: str
    """The most frequent extensions with their counts: `.jp2 8, .svg 2`."""


def left_out_table(left_out: LeftOut, unit: str = "file") -> Iterator[LeftOutLine]:
    """What is left out, for people, a line for each cause.

    What lies beside datasets everywhere is counted, but has no line.

    Args:
        left_out: the counts.
        unit: what is counted, in the singular.
    """
    for cause, kinds in sorted(left_out.items()):
        if cause in _QUIET:
            continue
        total = sum(kinds.values())
        by_count = sorted(kinds.items(), key=lambda entry: (-entry[1], entry[0]))
        shown = ", ".join(f"{kind} {count:,}" for kind, count in by_count[:_KINDS_SHOWN])
        more = f", {len(by_count) - _KINDS_SHOWN} more kinds" if len(by_count) > _KINDS_SHOWN else ""
        noun = _NOUNS.get(Cause(cause), unit) if cause in set(Cause) else unit
        yield LeftOutLine(total, f"{noun}{'' if total == 1 else 's'} {cause}", shown + more)


def left_out_lines(left_out: LeftOut, unit: str = "file") -> Iterator[str]:
    """The lines of `left_out_table` as sentences: `8 files without a known extension were left out: .jp2 8`."""
    for line in left_out_table(left_out, unit):
        yield f"{line.n:,} {line.what} {'was' if line.n == 1 else 'were'} left out: {line.kinds}"


@dataclass(slots=True)
class Account:
    """What became of the members, rows or lines of one file of the pool."""

    n_seen: int = 0
    """Members of a tar but folders, rows of a table, lines with content, or the one file."""
    n_rows: int = 0
    n_rejected: int = 0
    n_parts: int = 0
    """Members that belong to a sample, accepted or rejected, beside the one that stands for it."""
    left_out: LeftOutCounts = field(default_factory=LeftOutCounts)

    def took(self, result: RawSample | Rejection, n_parts: int = 0) -> RawSample | Rejection:
        """Count a sample or a rejection, and the parts that go with it.

        Returns:
            It; or INVALID_ID for a sample whose id does not fit a list of one id per line, as releases have.
        """
        if isinstance(result, RawSample) and _LINE_BREAK.search(result.sample_id):
            detail = (
                f"the id {result.sample_id!r} has a line break: rename it, or name another source.id_field"
            )
            result = Rejection(
                result.sample_id, result.file, result.member, RejectionReason.INVALID_ID, detail
            )
        if isinstance(result, Rejection):
            self.n_rejected += 1
        else:
            self.n_rows += 1
        self.n_parts += n_parts
        return result

    def require_balance(self, file: str) -> None:
        """Everything seen has exactly one fate.

        Raises:
            ShardError: if not, which is a fault of this package.
        """
        told = self.n_rows + self.n_rejected + self.n_parts + self.left_out.total
        if told != self.n_seen:
            raise ShardError(
                f"{file}: {self.n_seen:,} members were seen, but {told:,} are accounted for ({self.n_rows:,} samples, "
                f"{self.n_rejected:,} rejections, {self.n_parts:,} parts, {self.left_out.total:,} left out): this is a "
                f"fault of curation-assets, please report it"
            )
