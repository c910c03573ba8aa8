"""Orders to rebuild steps, kept on disk so that a killed command resumes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation_assets.project import Home
from curation_assets.storage.outputs import timestamp


class Rebuild:
    """The one unfinished order of a pool to rebuild steps.

    Outputs made after the order (JSON-able) was given count as rebuilt. The order is kept until it is finished:
    the same command resumes it after a kill or a failure, another command replaces it.
    """

    def __init__(self, home: Home, pool: str, order: Sequence[Any]) -> None:
        self._path: Path = home.dagster_state / "redo" / f"{pool}.json"
        self._order = json.loads(json.dumps(list(order)))
        stored = self._stored()
        self.is_resumed = stored is not None and stored["order"] == self._order
        self.since: str = stored["since"] if stored and self.is_resumed else timestamp()
        """Outputs made at this timestamp or later count as rebuilt."""
        if not self.is_resumed:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            staged = self._path.with_suffix(".tmp")
            staged.write_text(json.dumps({"order": self._order, "since": self.since}), encoding="utf-8")
            staged.replace(self._path)

    def finish(self) -> None:
        """Forget the order: everything is rebuilt."""
        self._path.unlink(missing_ok=True)

    def _stored(self) -> dict[str, Any] | None:
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            return stored if {"order", "since"} <= stored.keys() else None
        except (FileNotFoundError, ValueError, AttributeError):
            return None
