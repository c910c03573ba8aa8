"""Models on this machine: in a folder, or inside an installed package."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from pathlib import Path

from curation_assets.errors import PoolSpecError

_PACKAGE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def find_local_folder(name: str, markers: tuple[str, ...], *, setting: str) -> Path | None:
    """The folder of a local model or tokenizer; None if the name can only be one on the hub.

    Args:
        name: a folder, the name of an installed package, or a name on the hub.
        markers: files; a folder of the right kind has at least one of them.
        setting: key that the name was read from, for errors.

    Raises:
        PoolSpecError: if the name is a folder without a marker, looks like a path that does not exist, or is a
            package with several such folders.
    """
    wanted = " or ".join(markers)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if any((folder / marker).is_file() for marker in markers):
            return folder
        # A folder may happen to have the name of a package or of a model on the hub.
        if _looks_like_path(name):
            raise PoolSpecError(
                f"{setting} '{name}' is a folder without {wanted}: give the folder of a saved model"
            )
    elif _looks_like_path(name):
        raise PoolSpecError(f"{setting} '{name}' does not exist: give the folder of a saved model")
    found = sorted(
        {path.parent for root in _package_folders(name) for m in markers for path in root.rglob(m)}
    )
    # Subfolders of a model, such as 1_Pooling, are part of it.
    found = [path for path in found if not any(other in path.parents for other in found)]
    if len(found) > 1:
        raise PoolSpecError(
            f"{setting} '{name}' is a package with {len(found)} folders that have {wanted}: give one of them, "
            f"e.g. '{found[0]}'"
        )
    return found[0] if found else None


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name


def _package_folders(name: str) -> list[Path]:
    """Top folders of an installed distribution, or of an importable package."""
    if not _PACKAGE_NAME.fullmatch(name):
        return []
    try:
        files = importlib.metadata.distribution(name).files or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    tops = {file.parts[0] for file in files if len(file.parts) > 1 and file.parts[0].isidentifier()}
    folders: set[Path] = set()
    # An editable install does not list its modules, but the import system finds them.
    for top in tops or {re.sub(r"[-.]", "_", name)}:
        spec = importlib.util.find_spec(top) if top.isidentifier() else None
        folders |= {Path(location) for location in (spec and spec.submodule_search_locations) or ()}
    return sorted(folders)
