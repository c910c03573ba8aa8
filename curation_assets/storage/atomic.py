"""Atomic files: under a temporary name, flushed to disk, then renamed; or put whole into an object store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upath import UPath

TEMPORARY_PREFIX = ".tmp-"


def is_local(path: UPath) -> bool:
    """Whether a path lies on this machine's file system."""
    return path.protocol in ("", "file", "local")


@contextmanager
def staged_file(target: UPath) -> Iterator[Path]:
    """A local path to write; when the block ends without an error, its file replaces `target` at once.

    Locally the staged file lies beside the target and is renamed over it. Elsewhere it is uploaded whole,
    which object stores make visible only when complete.
    """
    if is_local(target):
        folder = Path(str(target.parent))
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f"{TEMPORARY_PREFIX}{target.name}-", dir=folder)
    else:
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX)
    os.close(descriptor)
    staged = Path(name)
    try:
        yield staged
        _flush(staged)
        # mkstemp gives 0600; results should be readable as any file the user makes.
        staged.chmod(0o666 & ~_umask())
        if is_local(target):
            staged.replace(str(target))
            _flush(staged.parent)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.fs.put_file(str(staged), target.path)
    finally:
        staged.unlink(missing_ok=True)


def write_text(target: UPath, text: str) -> None:
    """Replace a small text file atomically; what a killed process staged for it goes too."""
    remove_leftovers(target.parent, target.name)
    with staged_file(target) as staged:
        staged.write_text(text, encoding="utf-8")


def remove_leftovers(folder: UPath, name: str) -> None:
    """Remove staged files of `name` that a killed process left in a local folder."""
    if is_local(folder):
        for leftover in Path(str(folder)).glob(f"{TEMPORARY_PREFIX}{name}-*"):
            leftover.unlink(missing_ok=True)


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
