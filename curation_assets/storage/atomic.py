"""Atomic files: written under a temporary name, flushed and renamed, or uploaded whole to an object store."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from upath import UPath

from curation_assets.locations import OBJECT_STORES, is_local
from curation_assets.storage.claims.processes import Process, this_process

TEMPORARY_PREFIX = ".tmp-"
_ABANDONED_SECONDS = 86_400.0
"""Age of a staged file of another machine from which on its writer counts as gone."""
_LONGEST_NAME = 255
_MOST_AROUND = 64
"""Bytes of a staged file's name beside the name of its target: prefix, writer and random letters."""
# Their clients cache listings, which hides what other processes write; other clients have no such option.
_WITH_LISTINGS_CACHE = ("s3", "s3a", "gs", "gcs")


def open_root(location: str) -> UPath:
    """A folder or fsspec URI of outputs that other processes, also on other machines, write to."""
    root = UPath(location)
    return UPath(location, use_listings_cache=False) if root.protocol in _WITH_LISTINGS_CACHE else root


def read_whole(path: UPath) -> bytes:
    """Content of a small file that may be replaced at any time: the old content or the new, never a mix.

    Raises:
        FileNotFoundError: if the file does not exist.
    """
    if is_local(path):
        return path.read_bytes()
    # Opening a remote file asks for its size first, and a file replaced meanwhile would be cut to that size. Reading
    # without a start does the same.
    return bytes(path.fs.cat_file(path.path, start=0))


def read_all_whole(folder: UPath, paths: Sequence[str]) -> dict[str, bytes]:
    """Contents of small remote files, read at the same time as far as the store's client allows.

    Returns:
        Contents by path, without files that are gone.

    Raises:
        OSError: if the store fails for one of them.
    """
    # fsspec would take brackets in a name for a pattern.
    plain = [path for path in paths if not glob.has_magic(path)]
    # Older clients answer a list of one path with its content instead of a mapping.
    plain = plain if len(plain) > 1 else []
    single = sorted(set(paths) - set(plain))
    answers: dict[str, bytes | Exception] = {path: _content_or_error(folder, path) for path in single}
    if plain:
        answers |= folder.fs.cat(plain, on_error="return", start=0)
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
    """Staged files that killed processes left in local folders; each folder is listed once, on first use.

    The name of a staged file says which process writes it. It is removed if that process has ended or, where it cannot
    be seen because it is of another machine or container, if the file is a day old.

    Share one instance between the shards of a step: listing a folder for each file takes longer than writing it.
    """

    def __init__(self) -> None:
        self._found: dict[str, dict[str, list[str]]] = {}

    def remove(self, target: UPath) -> None:
        """Remove files that were staged for `target` before the folder was listed."""
        if not is_local(target):
            return
        folder = str(target.parent)
        if folder not in self._found:
            self._found[folder] = _staged_by_target(folder)
        for leftover in self._found[folder].pop(_short(target.name), ()):
            remove_if_left(Path(folder, leftover))


class StagedFiles:
    """Files that are written under temporary names and replace their targets together.

    Locally a staged file is beside its target and is renamed over it. Elsewhere it is uploaded whole; object stores
    show a file only when it is complete.
    """

    def __init__(self, leftovers: Leftovers | None = None) -> None:
        self._leftovers = leftovers or Leftovers()
        self._staged: list[tuple[UPath, Path]] = []

    def stage(self, target: UPath) -> Path:
        """A local path to write; its file will replace `target`."""
        self._leftovers.remove(target)
        if is_local(target):
            folder = Path(str(target.parent))
            folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(
                prefix=f"{TEMPORARY_PREFIX}{_short(target.name)}-{_writer()}_", dir=folder
            )
        else:
            descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX)
        os.close(descriptor)
        self._staged.append((target, Path(name)))
        return Path(name)

    def flush(self) -> None:
        """Flush the contents to disk, before any old file is replaced."""
        for _, staged in self._staged:
            _flush(staged)
            # mkstemp creates files with mode 0600; results get the user's usual mode.
            staged.chmod(0o666 & ~_umask())

    def replace(self, places: Mapping[Path, UPath] | None = None) -> None:
        """Move every flushed file to its target, or to its place in `places`, and flush each folder once."""
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
        """Remove staged files that have not replaced their targets."""
        for _, staged in self._staged:
            staged.unlink(missing_ok=True)


@contextmanager
def staged_file(target: UPath, leftovers: Leftovers | None = None) -> Iterator[Path]:
    """A local path to write; when the block ends without an error, its file atomically replaces `target`."""
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


def remove_folder(folder: UPath) -> None:
    """Remove a folder and its contents, if it exists."""
    if is_local(folder):
        shutil.rmtree(str(folder), ignore_errors=True)
    elif folder.exists():
        remove_remote(folder, folder.path)


def remove_remote(folder: UPath, path: str) -> None:
    """Remove a folder of the file system of `folder` with its contents; its name is no pattern."""
    if not glob.has_magic(path):
        folder.fs.rm(path, recursive=True)
        return
    found = folder.fs.find(path, withdirs=True, detail=True)
    # Deepest first. Object stores have no folders.
    for name, facts in sorted(found.items(), reverse=True):
        if facts["type"] != "directory":
            folder.fs.rm_file(name)
        elif folder.protocol not in OBJECT_STORES:
            folder.fs.rmdir(name)


def remove_folders(within: UPath, prefix: str, but: str = "") -> None:
    """Remove the folders whose names begin with a prefix, except one."""
    for folder in list(within.iterdir()) if within.exists() else ():
        if folder.name.startswith(prefix) and folder.name != but:
            remove_folder(folder)


def link_or_copy(source: UPath, target: Path) -> None:
    """Make `target`, which must not exist, a hard link to a local file, or a copy if linking is not possible."""
    try:
        os.link(str(source), target)
    except OSError:
        shutil.copyfile(str(source), target)


def remove_if_left(staged: Path) -> None:
    """Remove a staged file unless its writer may still be at work."""
    machine, _, rest = staged.name.rpartition("-")[2].partition("_")
    pid, _, rest = rest.partition("_")
    started = rest.partition("_")[0]
    try:
        writer = Process(machine, int(pid), started)
        is_at_work = writer.is_alive()
    except (ValueError, OverflowError):
        is_at_work = None
    with suppress(FileNotFoundError):
        if is_at_work is None:
            is_at_work = time.time() - staged.stat().st_mtime < _ABANDONED_SECONDS
        if not is_at_work:
            staged.unlink()


def _writer() -> str:
    """This process, as names of staged files say it: no hyphens."""
    process = this_process()
    return f"{process.machine}_{process.pid}_{process.started}"


def _short(target: str) -> str:
    """A name of a target that leaves room for the rest of a staged file's name."""
    if len(target.encode()) + _MOST_AROUND <= _LONGEST_NAME:
        return target
    return hashlib.sha256(target.encode()).hexdigest()[:32]


def _staged_by_target(folder: str) -> dict[str, list[str]]:
    """Staged files of a folder by the name of their target."""
    found: dict[str, list[str]] = {}
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names, without a path object for each
    except FileNotFoundError:
        return found
    for name in names:
        if name.startswith(TEMPORARY_PREFIX):
            # What follows the name of the target has no hyphen.
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
