"""The claim on a pool: it lies beside the pool's outputs, so that it holds for all who write there.

Each holder writes a file of its own below `<storage>/<pool>/claims` and then looks whether there are others. Nothing
has to be created exclusively, so this works in every object store that lists what has been written. The file is
renewed as long as its holder works. A holder that is gone is noticed at once on the same machine, by a lock of the
system on its file, and elsewhere because its file does not change any more.
"""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from upath import UPath

from curation_assets.errors import PoolBusyError
from curation_assets.storage.claims.files import (
    LEASE_SECONDS,
    ClaimFile,
    Found,
    Holder,
    State,
    claims_in,
    remove_claim,
)
from curation_assets.storage.claims.processes import process_name, this_boot, this_process

CLAIMS = "claims"
"""Folder of the claims below the pool's."""
CLAIM_VARIABLE = "CURATION_CLAIM"
"""Token of the claim below which a worker of `backfill --parallel` works."""
RENEW_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = (0.1, 0.4)
"""Shortest and longest wait: two that have seen each other must not come back at the same time."""
_held: dict[str, Claim] = {}
"""Claims of this process by the pool's folder."""


class Claim:
    """A claim that this process holds; a thread renews it."""

    def __init__(self, pool: str, file: ClaimFile, token: str) -> None:
        self.pool, self.token = pool, token
        self._file = file
        self._ends, self._is_lost = threading.Event(), False
        self._thread = threading.Thread(target=self._renew, name=f"claim on {pool}", daemon=True)

    def begin(self) -> None:
        """Renew it from now on."""
        self._thread.start()

    def end(self) -> None:
        """Give it back."""
        self._ends.set()
        self._thread.join()
        self._file.remove()

    def require(self) -> None:
        """Make sure that it still holds.

        Raises:
            PoolBusyError: if it was taken over, because this process did not work for a while.
        """
        if self._is_lost:
            raise PoolBusyError(
                f"the claim on pool '{self.pool}' was taken over: this process showed no sign of life for "
                f"{LEASE_SECONDS:.0f} s (machine suspended, storage out of reach). Finished work is kept: give the "
                f"same command again to go on"
            )

    def _renew(self) -> None:
        while not self._ends.wait(RENEW_SECONDS):
            try:
                self._is_lost = self._is_lost or not self._file.renew()
            except Exception:  # noqa: S112 - clients of stores share no base class, and the next try may succeed
                continue


def claim_held(folder: UPath) -> Claim | None:
    """The claim that this process holds on the pool of a folder."""
    return _held.get(str(folder))


def works_below_a_claim(folder: UPath) -> bool:
    """Whether this process, or the command whose worker it is, has claimed the pool of a folder."""
    if str(folder) in _held:
        return True
    token = os.environ.get(CLAIM_VARIABLE, "")
    return bool(token) and _path(folder, token).exists()


@contextmanager
def claimed(
    folder: UPath,
    what: str,
    *,
    group: str = "",
    patience: float = 0.0,
    say: Callable[[str], None] = lambda _: None,
    pause: Callable[[], None] = lambda: None,
) -> Iterator[Claim]:
    """Claim the pool of a folder for the block.

    Args:
        folder: of the pool's outputs.
        what: the holder does, for people.
        group: holders of the same group may work at the same time; empty: alone.
        patience: seconds to wait for another holder. With any patience at all, a holder of another machine is also
            waited for until it is certain whether it still works.
        say: tells the user a line.
        pause: called at every look; may raise to end the waiting.

    Raises:
        PoolBusyError: if another process holds it.
    """
    token = uuid.uuid4().hex[:16]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    holder = Holder(process_name(), what, group, now, this_process(), this_boot())
    deadline, has_said = time.monotonic() + patience, False
    while True:
        pause()
        file = ClaimFile(_path(folder, token), holder)
        other = _other(folder, file, say) or _written(folder, file, say)
        if other is None:
            break
        is_unknown = other.state is State.UNKNOWN and patience > 0
        if time.monotonic() >= deadline and not is_unknown:
            raise _busy(folder.name, other)
        if is_unknown and not has_said:
            has_said = True
            say(
                f"pool '{folder.name}' is claimed by {other.holder.words}, on another machine or in another "
                f"container: waiting up to {LEASE_SECONDS:.0f} s to see whether it still works"
            )
        time.sleep(random.uniform(*_LOOK_AGAIN_SECONDS))  # noqa: S311 - not for results
    claim = Claim(folder.name, file, token)
    claim.begin()
    before = _held.get(str(folder))
    _held[str(folder)] = claim
    try:
        yield claim
    finally:
        if before is None:
            del _held[str(folder)]
        else:
            _held[str(folder)] = before
        claim.end()


def _written(folder: UPath, file: ClaimFile, say: Callable[[str], None]) -> Found | None:
    """Write the own claim; it is removed again if another process has written one meanwhile."""
    file.create()
    try:
        other = _other(folder, file, say)
    except BaseException:
        file.remove()
        raise
    if other is not None:
        file.remove()
    return other


def _other(folder: UPath, own: ClaimFile, say: Callable[[str], None]) -> Found | None:
    """Somebody with whom the holder cannot work at the same time; claims of those that are gone are removed."""
    for claim in claims_in(folder / CLAIMS):
        if claim.path.name == own.path.name or claim.holder.may_work_with(own.holder):
            continue
        if claim.state is not State.GONE:
            return claim
        remove_claim(claim)
        say(f"the claim of {claim.holder.words} on pool '{folder.name}' is taken over: that process is gone")
    return None


def _busy(pool: str, other: Found) -> PoolBusyError:
    hint = (
        f". If its machine is gone, the pool is free {LEASE_SECONDS:.0f} s from now"
        if other.state is State.UNKNOWN
        else ""
    )
    return PoolBusyError(
        f"pool '{pool}' is already being run by {other.holder.words}: wait for it or stop it{hint} (claim {other.path})"
    )


def _path(folder: UPath, token: str) -> UPath:
    return folder / CLAIMS / f"{token}.json"
