"""Gives every asset event of a step a time of its own: when its shard was made.

Dagster makes the events of all partitions at the end of a step, many in one millisecond. The Events tab tells events of
a run apart by their millisecond, so it would show only some of them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

import dagster as dg

from curation_assets.defs.run.event_log import most_events_sorted
from curation_assets.defs.run.private_api import without
from curation_assets.storage.outputs import Facts

try:
    # Private: Dagster exports no way to set the time of an event.
    from dagster._core.log_manager import get_log_record_event, has_log_record_event
except ImportError as error:
    without("events of a step share milliseconds, so the Events tab shows only some of them", error)

    def has_log_record_event(record: logging.LogRecord) -> bool:
        """No record is known to have an event."""
        return False


_ASSET_EVENTS = (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION)


class EventTimes(logging.Filter):
    """A filter of a step's log, which sees the events before they are stored.

    Dagster makes the events of a step in no particular order. A storage that sorts a batch by time keeps the time at
    which each shard was made. In any other storage the times follow the order in which events are stored, because the
    tab pages by both.

    Args:
        instance: stores the events.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        super().__init__()
        self._most_sorted = most_events_sorted(instance.event_log_storage)
        self._began_ms = _milliseconds(time.time())
        self._planned: dict[str | None, int] = {}
        self._is_sorted = False
        self._last_ms = 0

    def plan(self, made: Mapping[str, Facts]) -> None:
        """Set the times of the materializations that follow.

        An output that is older than the step was up to date: its event is of the step.
        """
        times = {
            key: _milliseconds(datetime.fromisoformat(facts.made_at).timestamp())
            for key, facts in made.items()
        }
        ordered = sorted(made, key=lambda key: max(times[key], self._began_ms))
        earliest = max(self._began_ms, self._last_ms + 1)
        spread = spread_out([times[key] for key in ordered], earliest, _milliseconds(time.time()))
        self._planned = dict(zip(ordered, spread, strict=True))
        self._is_sorted = len(made) <= self._most_sorted

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`: passes everything on."""
        if has_log_record_event(record):
            event = get_log_record_event(record)
            if event.event_type in _ASSET_EVENTS:
                is_made = event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION
                planned = self._planned.get(event.partition) if is_made else None
                earliest = 0 if planned and self._is_sorted else self._last_ms + 1
                at = max(earliest, planned or _milliseconds(record.created))
                self._last_ms = max(self._last_ms, at)
                # In the middle of the millisecond, so that rounding does not leave it.
                record.created = (at + 0.5) / 1000
        return True


def spread_out(times: Sequence[int], earliest: int, latest: int) -> list[int]:
    """Times that increase, each as near to its own as possible.

    Args:
        times: wanted, in milliseconds.
        earliest: of all of them.
        latest: of all of them, unless there are more than milliseconds.
    """
    found: list[int] = []
    for wanted in times:
        found.append(max(min(wanted, latest), found[-1] + 1 if found else earliest))
    limit = max(latest, earliest + len(times) - 1)
    for i in range(len(found) - 1, -1, -1):
        found[i] = min(found[i], limit)
        limit = found[i] - 1
    return found


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
