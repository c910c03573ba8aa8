"""Versions of files, by which a listing knows whether a file changed.

A version is `base` or `base.more`. The base is a modification time, a digest of what an object store says, or a digest
of the content. What follows the point tells files of one base apart: change time and inode of a local file. It is
recorded as `base~more` when a file is first seen, and stays out of digests, so that shards that earlier versions of
this package listed, by bases alone, are the same. Only a file that was replaced by one of its base is recorded, and
digested, as `base.more`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from upath import UPath

from curation_assets.errors import PoolSpecError
from curation_assets.formats.base import SourceFile
from curation_assets.locations import OBJECT_STORES, full_path, is_local

Check = Literal["size_and_time", "digest"]
"""What a change is known by."""
MISSING = "missing"
"""Version of a link to nothing."""
UNREADABLE = "unreadable"
"""Version, where contents are compared, of a file without the right to read it; its shard reports that."""
# Names of facts that change with a file's content, in object stores, HTTP, WebDAV and memory.
CONTENT_FIELDS = ("etag", "generation", "versionid", "content_md5", "md5")
VERSION_FIELDS = (*CONTENT_FIELDS, "mtime", "last_modified")
WEAKER_VERSION_FIELDS = ("lastmodified", "modified", "updated", "created")
# Names of facts that count beside those above: the Hugging Face hub knows nothing else of a file.
FURTHER_FIELDS = ("blob_id", "sha256")
# File systems whose inode numbers are others after a mount, or while a file is in use.
_PASSING_INODES = re.compile(r"fuse(\..*|blk)?|9p|cifs|smb.*|vboxsf|prl_fs|virtiofs")
_MOUNTS = Path("/proc/self/mountinfo")
_NEW, _KNOWN = ".", "~"
_MARK = re.compile(r"[.~]")


def passing_inodes() -> frozenset[int]:
    """Devices whose inode numbers do not last, as they are mounted now; empty where the system does not tell."""
    devices = set()
    with suppress(OSError, ValueError):
        for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
            mount, _, kind = line.partition(" - ")
            if _PASSING_INODES.fullmatch(kind.split(" ", 1)[0]):
                major, minor = mount.split(" ")[2].split(":")
                devices.add(os.makedev(int(major), int(minor)))
    return frozenset(devices)


def local_version(facts: os.stat_result, passing: frozenset[int]) -> str:
    """Version of a file of this machine: modification time in ns, change time and inode.

    Args:
        facts: of the file, not of a link to it.
        passing: see `passing_inodes`.
    """
    inode = "" if facts.st_dev in passing else f"-{facts.st_ino:x}"
    # Most files are not touched after their last byte. The listing is smaller without saying the same time twice.
    changed = "" if facts.st_ctime_ns == facts.st_mtime_ns else f"{facts.st_ctime_ns:x}"
    return f"{facts.st_mtime_ns}{_NEW}{changed}{inode}"


def remote_version(facts: Mapping[str, Any]) -> str:
    """Version of a file elsewhere, from what its file system says of it."""
    by_name = {name.lower().replace("-", "_"): value for name, value in facts.items()}
    base = f"size={facts.get('size')}"
    for names in (VERSION_FIELDS, WEAKER_VERSION_FIELDS):
        if known := [f"{name}={by_name[name]}" for name in names if by_name.get(name)]:
            base = _short_digest("\n".join([*known, base]).encode())
            break
    further = [f"{name}={by_name[name]}" for name in FURTHER_FIELDS if by_name.get(name)]
    return f"{base}{_NEW}{_short_digest(chr(10).join(further).encode())}" if further else base


def tells_content(facts: Mapping[str, Any]) -> bool:
    """Whether a file system says something of a file that is another for other content."""
    names = {name.lower().replace("-", "_") for name, value in facts.items() if value}
    return not names.isdisjoint((*CONTENT_FIELDS, *FURTHER_FIELDS))


def content_version(root: UPath, file: SourceFile) -> SourceFile:
    """A file with the digest of its content as version, which is read unless storage tells one; memory is a buffer.

    Raises:
        PoolSpecError: if storage fails.
    """
    path = full_path(root, file.path)
    if root.protocol in OBJECT_STORES:
        return file
    try:
        if not is_local(root) and tells_content(root.fs.info(path)):
            return file
        with open(path, "rb") if is_local(root) else root.fs.open(path, "rb") as handle:  # noqa: PTH123
            digest = hashlib.sha256()
            while block := handle.read(2**20):
                digest.update(block)
    except FileNotFoundError:
        return replace(file, version=MISSING)
    except PermissionError:
        return replace(file, version=UNREADABLE)
    # The clients of object stores raise errors of their own, which share no base class.
    except Exception as error:
        raise PoolSpecError(
            f"the file '{file.path}' of the pool cannot be read ({type(error).__name__}: {error}), as source.check: "
            f"digest asks: try again"
        ) from error
    return replace(file, version=f"content={digest.hexdigest()[:32]}")


def with_companion(version: str, companion: SourceFile | None) -> str:
    """Version of a file that is read together with another one, which may be missing."""
    base, mark, more = _split(version)
    if companion is None:
        return f"{base}+{MISSING}{mark}{more}"
    other, its_mark, its_more = _split(companion.version)
    joined = f"{base}+{companion.size_bytes}/{other}"
    return f"{joined}{_NEW}{more},{its_mark}{its_more}" if mark or its_mark else joined


def first_seen(file: SourceFile) -> SourceFile:
    """What a listing records of a new file."""
    base, mark, more = _split(file.version)
    return replace(file, version=f"{base}{_KNOWN}{more}") if mark else file


def recorded(known: SourceFile, listed: SourceFile) -> SourceFile:
    """What a listing records of a known file: it has the digest of `known` while the file is the same, else another."""
    if known == listed:
        return known
    base, mark, more = _split(known.version)
    new_base, new_mark, new_more = _split(listed.version)
    if known.size_bytes != listed.size_bytes or base != new_base or not mark:
        return first_seen(listed)
    return known if mark == _KNOWN and new_mark and more == new_more else listed


def is_same(known: SourceFile, listed: SourceFile) -> bool:
    """Whether a known file is unchanged in a new listing."""
    return digested(recorded(known, listed)) == digested(known)


def digested(file: SourceFile) -> list[str | int]:
    """What goes into digests of a file: path, size and version."""
    version, mark, _ = file.version.partition(_KNOWN)
    return [file.path, file.size_bytes, version if mark else file.version]


def earlier(file: SourceFile) -> SourceFile:
    """A file as earlier versions of this package listed it."""
    return replace(file, version=_split(file.version)[0])


def modified_at(version: str) -> float | None:
    """Unix time of the last modification, of a file of this machine; None for other versions."""
    base = _split(version)[0]
    return int(base) / 1e9 if base.isdecimal() else None


def _split(version: str) -> tuple[str, str, str]:
    found = _MARK.search(version)
    if found is None:
        return version, "", ""
    return version[: found.start()], found[0], version[found.end() :]


def _short_digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
