"""Versions of an output in an object store: each writer has a folder, named by time and a random number."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Final

_FORM: Final = "%Y%m%dT%H%M%S"
_NAME: Final = re.compile(r"v-(\d{8}T\d{6})-[0-9a-f]{16}")


def new_version() -> str:
    """A name that is unique on all machines, e.g. v-20260131T235959-0123456789abcdef."""
    return f"v-{datetime.now(UTC).strftime(_FORM)}-{secrets.token_hex(8)}"


def version_age(name: str) -> float:
    """Age of a version in seconds, by this machine's clock; -1 if the name is not a version's."""
    found = _NAME.fullmatch(name)
    if found is None:
        return -1.0
    begun = datetime.strptime(found[1], _FORM).replace(tzinfo=UTC)
    return (datetime.now(UTC) - begun).total_seconds()
