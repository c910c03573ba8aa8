"""The file of a claim: created, renewed, judged and removed, on a file system or in an object store."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path

from upath import UPath

from curation_assets.locations import OBJECT_STORES, is_local
from curation_assets.storage.claims.processes import Process, this_boot

LEASE_SECONDS = 60.0
"""A claim whose file has not changed for so long has no holder any more."""
_SUFFIX = ".json"
_seen: dict[str, tuple[bytes, float]] = {}
"""Contents of claims of other machines, and since when (on this machine's clock) each has not changed."""


class State(Enum):
    """Whether the holder of a claim still works."""

    WORKS = "works"
    GONE = "gone"
    UNKNOWN = "unknown"
    """It is on another machine or in another container: only time tells."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who claims a pool."""

    name: str
    """Number of the process, and name of its machine."""
    what: str
    """What it does there."""
    group: str
    """Holders of one group may work at the same time; empty: this one works alone."""
    since: str
    """Time of the claim, in ISO format, UTC."""
    process: Process
    boot: str
    """Start of the machine that the process runs on."""
    is_locked: bool = False
    """Whether the process holds a lock of the system on the file of its claim, which ends with the process."""

    @property
    def words(self) -> str:
        """For people."""
        return f"process {self.name} ({self.what}) since {self.since[:19].replace('T', ' ')} UTC"

    def may_work_with(self, other: Holder) -> bool:
        """Whether both may work at the same time."""
        return bool(self.group) and self.group == other.group


@dataclass(frozen=True, slots=True)
class Found:
    """A claim in the pool's folder."""

    path: UPath
    holder: Holder
    state: State


class ClaimFile:
    """The file of an own claim: it has a name of its own, so that no two processes ever write the same one."""

    def __init__(self, path: UPath, holder: Holder) -> None:
        self.path, self.holder = path, holder
        self._descriptor = -1
        self._n_renewed = 0

    def create(self) -> None:
        """Show the claim: others see the whole file or none."""
        if not is_local(self.path):
            if self.path.protocol not in OBJECT_STORES:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.fs.pipe_file(self.path.path, self._content())
            return
        path = Path(str(self.path))
        new = path.with_name(f".{path.stem}.new")
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Another process may remove the empty folder meanwhile.
            with suppress(FileNotFoundError):
                self._descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
                break
        try:
            self.holder = replace(self.holder, is_locked=_lock(self._descriptor))
            os.pwrite(self._descriptor, self._content(), 0)
            new.replace(path)
        except BaseException:
            self._close()
            new.unlink(missing_ok=True)
            raise

    def renew(self) -> bool:
        """Show that the holder still works; False if another process has removed the claim."""
        self._n_renewed += 1
        if not is_local(self.path):
            if not self.path.fs.exists(self.path.path):
                return False
            self.path.fs.pipe_file(self.path.path, self._content())
            return True
        try:
            if os.stat(str(self.path)).st_ino != os.fstat(self._descriptor).st_ino:  # noqa: PTH116 - beside fstat
                return False
        except FileNotFoundError:
            return False
        # The same length: a full disk has room for it.
        os.pwrite(self._descriptor, self._content(), 0)
        return True

    def remove(self) -> None:
        """Give the claim back."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        self._close()
        if is_local(self.path):
            # Not empty while others claim the pool.
            with suppress(OSError):
                Path(str(self.path)).parent.rmdir()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _content(self) -> bytes:
        return json.dumps({"renewed": f"{self._n_renewed:012}", **asdict(self.holder)}).encode()


def claims_in(folder: UPath) -> list[Found]:
    """The claims of a folder, judged; those that are removed meanwhile are left out."""
    found = (_look(path) for path in _paths(folder))
    return [claim for claim in found if claim is not None]


def remove_claim(claim: Found) -> None:
    """Remove the claim of a holder that is gone; nobody else ever writes a file of this name."""
    with suppress(FileNotFoundError):
        claim.path.unlink()
    _seen.pop(str(claim.path), None)


def _paths(folder: UPath) -> list[UPath]:
    try:
        if is_local(folder):
            names = os.listdir(str(folder))  # noqa: PTH208 - names
        else:
            folder.fs.invalidate_cache(folder.path)
            names = [path.rpartition("/")[2] for path in folder.fs.ls(folder.path, detail=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names) if name.endswith(_SUFFIX) and not name.startswith(".")]


def _look(path: UPath) -> Found | None:
    try:
        content = path.read_bytes() if is_local(path) else bytes(path.fs.cat_file(path.path, start=0))
    except FileNotFoundError:
        return None
    holder = _parsed(content)
    state = _judge_here(path, holder) if holder else State.UNKNOWN
    if state is State.UNKNOWN:
        state = _judge_by_time(str(path), content)
    return Found(path, holder or _nobody(), state)


def _judge_here(path: UPath, holder: Holder) -> State:
    """Judge a holder of this machine: the system knows."""
    alive = holder.process.is_alive()
    if alive is False:
        return State.GONE
    if holder.is_locked and holder.boot == this_boot() and is_local(path):
        with suppress(OSError):
            return _judge_by_lock(str(path))
    return State.WORKS if alive else State.UNKNOWN


def _judge_by_lock(path: str) -> State:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return State.WORKS
    finally:
        os.close(descriptor)
    return State.GONE


def _judge_by_time(path: str, content: bytes) -> State:
    """Judge by the change of the file, on this machine's clock: clocks of machines are never compared."""
    now = time.monotonic()
    known = _seen.get(path)
    if known is None:
        _seen[path] = (content, now)
        return State.UNKNOWN
    if known[0] != content:
        _seen[path] = (content, now)
        return State.WORKS
    return State.GONE if now - known[1] > LEASE_SECONDS else State.UNKNOWN


def _parsed(content: bytes) -> Holder | None:
    try:
        document = json.loads(content)
        document.pop("renewed")
        return Holder(**{**document, "process": Process(**document["process"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _nobody() -> Holder:
    return Holder("unknown", "its claim cannot be read", "", "unknown", Process("", 0, ""), "")


def _lock(descriptor: int) -> bool:
    """Lock a file until this process ends; False on file systems without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
