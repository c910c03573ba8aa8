"""What the last listing of a pool left out, stored beside its outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping

from upath import UPath

from curation_assets.storage.atomic import read_whole, write_text

LEFT_OUT_FILE = "left_out.json"


def load_left_out(pool_folder: UPath) -> dict[str, dict[str, int]]:
    """Cause -> extension -> how many files; empty before a listing, and if the file is damaged, until the next."""
    try:
        document = json.loads(read_whole(pool_folder / LEFT_OUT_FILE))
        return {
            str(cause): {str(kind): int(n) for kind, n in kinds.items()} for cause, kinds in document.items()
        }
    except (FileNotFoundError, ValueError, AttributeError, TypeError):
        return {}


def save_left_out(pool_folder: UPath, left_out: Mapping[str, Mapping[str, int]]) -> None:
    """Store the counts of a listing, if they differ from the stored ones."""
    counts = {cause: dict(kinds) for cause, kinds in left_out.items()}
    if counts != load_left_out(pool_folder):
        write_text(pool_folder / LEFT_OUT_FILE, json.dumps(counts, indent=1, sort_keys=True))
