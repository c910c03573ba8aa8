"""Processes by a name that no other process has, and whether one of them still runs."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process of some machine."""

    machine: str
    """Digest of the start of the machine and of the container's process numbers."""
    pid: int
    started: str
    """When it started, in ticks since the start of the machine; empty if that is not known."""

    def is_alive(self) -> bool | None:
        """Whether it still runs; None if it is of another machine or container, where this process cannot look."""
        return is_alive(self.pid, self.started) if self.machine == this_machine() else None


def this_process() -> Process:
    """This process."""
    return Process(this_machine(), os.getpid(), start_of(os.getpid()))


def process_name() -> str:
    """This process, for people."""
    return f"{os.getpid()}@{socket.gethostname()}"


@lru_cache
def this_boot() -> str:
    """Digest of the start of this machine: the same in all its containers, and another after a restart."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        boot = socket.gethostname()
    return _digest(boot)


@lru_cache
def this_machine() -> str:
    """Digest of the start of this machine and of the container: process numbers are compared only within one."""
    try:
        numbers = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - not a path
    except OSError:
        numbers = ""
    return _digest(this_boot() + numbers)


def is_alive(pid: int, started: str) -> bool:
    """Whether the process of this number with this start (empty: not known) still runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # A zombie has ended, but its parent has not collected it yet.
    if _status(pid)[:1] == ["Z"]:
        return False
    # Numbers of ended processes are used again, after a restart of the machine or container even soon.
    return not started or start_of(pid) == started


def start_of(pid: int) -> str:
    """When a process started, in ticks since the start of the machine; empty if that is not known."""
    fields = _status(pid)
    return fields[19] if len(fields) > 19 else ""


def _status(pid: int) -> list[str]:
    """Fields of a process after its name, from its state on (Linux); empty if they are not known."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return stat.rpartition(")")[2].split()
    except OSError:
        return []


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
