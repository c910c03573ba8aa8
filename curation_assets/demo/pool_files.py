"""The folder of a demo pool, which is emptied when its settings change."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from upath import UPath

from curation_assets.errors import CurationError
from curation_assets.storage.atomic import TEMPORARY_PREFIX, write_bytes

SETTINGS_FILE = "_pool.json"


def prepare_folder(
    folder: Path, settings: dict[str, Any], *, generated: re.Pattern[str], shards: str
) -> None:
    """Create a demo pool's folder, and remove shards that were made with other settings.

    Args:
        folder: created if missing.
        settings: everything that decides the shards' bytes.
        generated: matches the full names of the files that a demo pool writes.
        shards: glob of its shards.

    Raises:
        CurationError: if the folder has shards, but not the settings that made them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings_file = folder / SETTINGS_FILE
    content = json_bytes(settings)
    if not settings_file.exists():
        if foreign := next(folder.glob(shards), None):
            raise CurationError(
                f"{folder} has {foreign.name}, but no {SETTINGS_FILE}: choose an empty folder for the demo pool"
            )
    elif settings_file.read_bytes() != content:
        for path in sorted(folder.iterdir()):
            if generated.fullmatch(path.name) or path.name.startswith(TEMPORARY_PREFIX):
                path.unlink()
    write_bytes(UPath(settings_file), content)


def json_bytes(value: dict[str, Any]) -> bytes:
    """A JSON object, indented and with a line break at the end."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
