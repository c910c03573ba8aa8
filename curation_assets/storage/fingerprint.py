"""Fingerprints: short digests of settings, inputs and contents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def fingerprint(value: Any) -> str:
    """Digest of a JSON-able value, the same on every machine: 32 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_digest(digests: Mapping[str, str]) -> str:
    """One digest for many named ones, whatever their order."""
    return fingerprint(sorted(digests.items()))
