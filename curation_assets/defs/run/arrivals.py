"""Which of the listed files are complete; a file that is still being written is left for later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from curation_assets.formats.base import SourceFile
from curation_assets.formats.listed.versions import is_same, modified_at


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A file that is not complete yet."""

    stamp: str
    """Its size and version when last listed."""
    since: float
    """Unix time since when size and version have not changed."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A listing, split into complete files and others."""

    settled: list[SourceFile]
    """Complete files; a known file that is being rewritten is listed as it was."""
    unsettled: dict[str, Unsettled]
    """By path; pass it to the next call."""


def settle(
    listed: Sequence[SourceFile],
    known: Mapping[str, SourceFile],
    earlier: Mapping[str, Unsettled],
    *,
    now: float,
    settle_seconds: float,
    unclosed_seconds: float,
    is_closed: Callable[[SourceFile], bool],
) -> Arrivals:
    """Split a listing into complete files and files that are still being written.

    Args:
        listed: files as listed now, without names of unfinished downloads.
        known: files that were complete earlier, by path.
        earlier: what the last call left unsettled, by path.
        now: Unix time.
        settle_seconds: how long size and version must not have changed.
        unclosed_seconds: how long to wait for an unchanged file that is not closed; then it counts as complete.
        is_closed: whether a file ends as its format requires.
    """
    settled: list[SourceFile] = []
    unsettled: dict[str, Unsettled] = {}
    for file in listed:
        if (before := known.get(file.path)) and is_same(before, file):
            settled.append(file)
            continue
        waiting = _waiting(file, earlier.get(file.path), now)
        age = now - waiting.since
        if age < settle_seconds:
            why = "size or time still changing"
        elif age < unclosed_seconds and not is_closed(file):
            why = "not complete yet"
        else:
            settled.append(file)
            continue
        unsettled[file.path] = replace(waiting, why=why)
        if file.path in known:
            settled.append(known[file.path])
    return Arrivals(settled, unsettled)


def _waiting(file: SourceFile, earlier: Unsettled | None, now: float) -> Unsettled:
    stamp = f"{file.size_bytes}/{file.version}"
    if earlier and earlier.stamp == stamp:
        return earlier
    unchanged_since = modified_at(file.version)
    return Unsettled(stamp, now if unchanged_since is None else min(now, unchanged_since))
