"""Which of the listed files are complete: one that is still being written is left for later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from curation_assets.formats.base import SourceFile


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A file that is not taken yet."""

    stamp: str
    """Size and version when last seen."""
    since: float
    """Unix time from which on it has looked like this."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A listing, told apart."""

    settled: list[SourceFile]
    """Complete files; a known file that is being rewritten stands here as it was."""
    unsettled: dict[str, Unsettled]
    """By path; to be handed to the next call."""


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
    """Tell complete files from those that are still moving.

    Args:
        listed: files as listed now; names of unfinished downloads are left out already.
        known: files taken earlier, by path.
        earlier: what the last call left unsettled, by path.
        now: Unix time.
        settle_seconds: a file must have looked the same for this long.
        unclosed_seconds: a file that is settled but not closed is waited for this long, then taken.
        is_closed: whether a file ends as its format demands.
    """
    settled: list[SourceFile] = []
    unsettled: dict[str, Unsettled] = {}
    for file in listed:
        if known.get(file.path) == file:
            settled.append(file)
            continue
        waiting = _waiting(file, earlier.get(file.path), now)
        age = now - waiting.since
        if age < settle_seconds:
            why = "size or time still moving"
        elif age < unclosed_seconds and not is_closed(file):
            why = "not closed yet"
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
    # A local file's version is its modification time in ns: it has been at rest since then.
    resting_since = int(file.version) / 1e9 if file.version.isdecimal() else now
    return Unsettled(stamp, min(now, resting_since))
