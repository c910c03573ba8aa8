"""What the demo pools share: a folder of their own, made anew for other settings, and atomic files."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from curation_assets.errors import CurationError

SETTINGS_FILE = "_pool.json"


def prepare_folder(
    folder: Path, settings: dict[str, Any], *, generated: re.Pattern[str], shards: str
) -> None:
    """Make a demo pool's folder; shards that other settings made are removed.

    Args:
        folder: made if missing.
        settings: everything that decides the shards' bytes.
        generated: full names of the files that a demo pool writes.
        shards: glob of its shards.

    Raises:
        CurationError: if the folder holds shards, but not the settings that made them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings_file = folder / SETTINGS_FILE
    content = json_bytes(settings)
    if not settings_file.exists():
        if foreign := next(folder.glob(shards), None):
            raise CurationError(
                f"{folder} holds {foreign.name}, but no {SETTINGS_FILE}: choose an empty "
                f"folder for the demo pool"
            )
    elif settings_file.read_bytes() != content:
        for path in sorted(folder.iterdir()):
            if generated.fullmatch(path.name):
                path.unlink()
    write_atomically(settings_file, content)


def json_bytes(value: dict[str, Any]) -> bytes:
    """A JSON object as people read it, with a line break at the end."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under another name, flush it to disk and rename it."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
