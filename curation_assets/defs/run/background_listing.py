"""A listing that takes longer than a tick of the sensor: it goes on in a thread, and a later tick takes it whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from curation_assets.formats.base import Listing

TICK_SECONDS = 35.0
"""Dagster ends a tick after 60 s; what follows the listing needs the rest."""
_OLDEST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Work:
    about: str
    """What the listing is compared with later; it is of no use once this has changed."""
    result: Future[Listing]
    began: float = field(default_factory=time.monotonic)
    ended: list[float] = field(default_factory=list)

    def is_of_use(self, about: str) -> bool:
        """Whether it can still be taken."""
        return self.about == about and (not self.ended or time.monotonic() - self.ended[0] < _OLDEST_SECONDS)


_works: dict[str, _Work] = {}


def listed_within(
    pool: str, about: str, look: Callable[[], Listing], seconds: float = TICK_SECONDS
) -> Listing | None:
    """The listing of a pool's files if it ends in time; else None, and the next call goes on waiting for it.

    If the process ends first, the next one lists from the start: there is no half of a listing.

    Args:
        pool: which pool; a key of the pool and its project.
        about: digest of the stored listing. A listing that was begun before another was stored is dropped: it might
            lack files that are known by now.
        look: lists the files.
        seconds: how long to wait.

    Raises:
        Exception: what `look` raises.
    """
    work = _works.get(pool)
    if work is None or not work.is_of_use(about):
        work = _works[pool] = _begun(about, look)
    try:
        listing = work.result.result(timeout=seconds)
    except TimeoutError:
        if not work.result.done():
            return None
        # The listing's own.
        _works.pop(pool, None)
        raise
    except BaseException:
        _works.pop(pool, None)
        raise
    _works.pop(pool, None)
    return listing


def seconds_so_far(pool: str) -> float:
    """Since when the listing of a pool has been going on; 0 if none is."""
    work = _works.get(pool)
    return time.monotonic() - work.began if work else 0.0


def _begun(about: str, look: Callable[[], Listing]) -> _Work:
    work = _Work(about, Future())

    def run() -> None:
        try:
            listing = look()
        # Object stores raise errors of their own clients, which share no base class.
        except BaseException as error:
            work.ended.append(time.monotonic())
            work.result.set_exception(error)
        else:
            work.ended.append(time.monotonic())
            work.result.set_result(listing)

    threading.Thread(target=run, name="listing", daemon=True).start()
    return work
