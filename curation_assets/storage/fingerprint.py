"""Fingerprints: short digests of settings, inputs and contents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def canonical(value: Any) -> str:
    """A JSON-serializable value as text, the same on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def text_digest(text: str) -> str:
    """Digest of a text: 32 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def fingerprint(value: Any) -> str:
    """Digest of a JSON-serializable value, the same on every machine: 32 hexadecimal digits."""
    return text_digest(canonical(value))


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_digest(digests: Mapping[str, str]) -> str:
    """One digest of many named ones, independent of their order."""
    return fingerprint(sorted(digests.items()))
