"""Models that lie on this machine: a folder, or an installed package that carries one."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

_MODEL_FILES = ("modules.json", "tokenizer.json")


def local_model_folder(name: str) -> Path | None:
    """Folder of a model that needs no download; None if the name can only be one on a hub.

    Args:
        name: a folder, or the name of an installed distribution with a saved model among its files.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if "/" in name:
        return None
    try:
        files = metadata.files(name) or []
    except (metadata.PackageNotFoundError, ValueError):
        return None
    for wanted in _MODEL_FILES:
        for file in files:
            if file.name == wanted:
                return Path(str(file.locate())).resolve().parent
    return None
