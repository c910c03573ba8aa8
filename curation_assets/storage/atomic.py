"""Atomic files: under a temporary name, flushed to disk, then renamed; or put whole into an object store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from upath import UPath

from curation_assets.locations import OBJECT_STORES, is_local

TEMPORARY_PREFIX = ".tmp-"
# Their clients remember listings, and would not see what other processes write; the others have no such option.
_WITHOUT_MEMORY = ("s3", "s3a", "gs", "gcs")


def open_root(location: str) -> UPath:
    """A folder or fsspec URI of outputs that other processes, on whatever machine, write too."""
    root = UPath(location)
    return UPath(location, use_listings_cache=False) if root.protocol in _WITHOUT_MEMORY else root


def read_whole(path: UPath) -> bytes:
    """Content of a small file that may be replaced at any time: as it was before or as it is after.

    Raises:
        FileNotFoundError: if there is none.
    """
    if is_local(path):
        return path.read_bytes()
    # Opening a remote file asks for its size first, by which a file replaced since would be cut off. So does reading
    # it without a start: two requests instead of one.
    return bytes(path.fs.cat_file(path.path, start=0))


def read_all_whole(folder: UPath, paths: Sequence[str]) -> dict[str, bytes]:
    """Contents of small remote files, as many at once as their store's client allows.

    Args:
        folder: in which they lie.
        paths: as its file system writes them.

    Returns:
        By path; without those that are gone.

    Raises:
        OSError: of the store, if it does not answer for one of them.
    """
    if not paths:
        return {}
    # A list is always answered by a mapping, but for a list of one, which older clients take for its entry.
    if len(paths) == 1:
        answers: Mapping[str, bytes | Exception] = {paths[0]: _content_or_error(folder, paths[0])}
    else:
        answers = folder.fs.cat(list(paths), on_error="return", start=0)
    contents = {}
    for path, answer in answers.items():
        if isinstance(answer, FileNotFoundError):
            continue
        if isinstance(answer, Exception):
            raise answer
        contents[path] = answer
    return contents


def _content_or_error(folder: UPath, path: str) -> bytes | Exception:
    try:
        return bytes(folder.fs.cat_file(path, start=0))
    except FileNotFoundError as error:
        return error


class Leftovers:
    """What killed processes left staged in local folders; each folder is listed once, when it is first asked about.

    One instance serves all shards of a step: a listing for each of their files would take longer than writing it.
    """

    def __init__(self) -> None:
        self._found: dict[str, dict[str, list[str]]] = {}

    def remove(self, target: UPath) -> None:
        """Remove what was staged for one file before the folder was listed."""
        if not is_local(target):
            return
        folder = str(target.parent)
        if folder not in self._found:
            self._found[folder] = _staged_by_target(folder)
        for leftover in self._found[folder].pop(target.name, ()):
            Path(folder, leftover).unlink(missing_ok=True)


class StagedFiles:
    """Files written under temporary names that take their places together.

    Locally a staged file lies beside its target and is renamed over it. Elsewhere it is uploaded whole, which
    object stores make visible only when complete.

    Args:
        leftovers: what killed processes left in the folders.
    """

    def __init__(self, leftovers: Leftovers | None = None) -> None:
        self._leftovers = leftovers or Leftovers()
        self._staged: list[tuple[UPath, Path]] = []

    def stage(self, target: UPath) -> Path:
        """A local path to write; its file is to replace `target`."""
        self._leftovers.remove(target)
        if is_local(target):
            folder = Path(str(target.parent))
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=f"{TEMPORARY_PREFIX}{target.name}-", dir=folder)
        else:
            descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX)
        os.close(descriptor)
        self._staged.append((target, Path(name)))
        return Path(name)

    def flush(self) -> None:
        """Bring the files' contents to disk, before anything of the old ones goes."""
        for _, staged in self._staged:
            _flush(staged)
            # mkstemp gives 0600; results should be readable as any file the user makes.
            staged.chmod(0o666 & ~_umask())

    def replace(self, places: Mapping[Path, UPath] | None = None) -> None:
        """Put every flushed file in its place, and the folders' new entries to disk, once for each folder.

        Args:
            places: by staged file, the place it takes instead of its target's.
        """
        folders: dict[Path, None] = {}
        for target, staged in self._staged:
            target = (places or {}).get(staged, target)
            if is_local(target):
                staged.replace(str(target))
                folders[staged.parent] = None
            else:
                # Making a folder costs an object store a request, and S3's client would create a missing bucket.
                if target.protocol not in OBJECT_STORES:
                    target.parent.mkdir(parents=True, exist_ok=True)
                target.fs.put_file(str(staged), target.path)
        for folder in folders:
            _flush(folder)

    def discard(self) -> None:
        """Remove what was staged and is not in its place."""
        for _, staged in self._staged:
            staged.unlink(missing_ok=True)


@contextmanager
def staged_file(target: UPath, leftovers: Leftovers | None = None) -> Iterator[Path]:
    """A local path to write; when the block ends without an error, its file replaces `target` at once.

    Args:
        target: the file.
        leftovers: what killed processes left in its folder.
    """
    files = StagedFiles(leftovers)
    try:
        yield files.stage(target)
        files.flush()
        files.replace()
    finally:
        files.discard()


def write_text(target: UPath, text: str, leftovers: Leftovers | None = None) -> None:
    """Replace a small text file atomically; see `write_bytes`."""
    write_bytes(target, text.encode("utf-8"), leftovers)


def write_bytes(target: UPath, content: bytes, leftovers: Leftovers | None = None) -> None:
    """Replace a small file atomically; files that killed processes staged for it are removed."""
    with staged_file(target, leftovers) as staged:
        staged.write_bytes(content)


def _staged_by_target(folder: str) -> dict[str, list[str]]:
    """Staged files of a folder by the name of the file they were to replace."""
    found: dict[str, list[str]] = {}
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names, without a path object for each
    except FileNotFoundError:
        return found
    for name in names:
        if name.startswith(TEMPORARY_PREFIX):
            # What mkstemp appends has no hyphen.
            target, hyphen, _ = name.removeprefix(TEMPORARY_PREFIX).rpartition("-")
            if hyphen:
                found.setdefault(target, []).append(name)
    return found


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
