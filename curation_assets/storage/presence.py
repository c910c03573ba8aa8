"""Where the files of an output lie, and whether they are all there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from upath import UPath

from curation_assets.locations import is_local

if TYPE_CHECKING:
    from curation_assets.storage.outputs import Facts


def place_of(name: str, shard: str | None, version: str = "") -> str:
    """Path of an output's file below the folder of its asset; see `Output.path`."""
    folder, _, last = name.rpartition("/")
    parts = (version, folder, last if shard is None else f"{shard}.{last}")
    return "/".join(part for part in parts if part)


class StoredFiles:
    """Whether files of an asset are there with their sizes: one look at each, or one listing of a remote folder."""

    def __init__(self, folder: UPath) -> None:
        self._folder = folder
        # Plain paths: with thousands of shards pathlib costs more than the looking.
        self._root = str(folder) if is_local(folder) else ""
        self._listed: dict[str, int] | None = None

    def lost(self, shard: str | None, facts: Facts) -> str | None:
        """What is wrong with the files that facts name, in words; None if all are there.

        The words name no shard, so that they are the same for all shards that lost the same file.
        """
        wrong = []
        for name in facts.files:
            size, recorded = self._size(place_of(name, shard, facts.version)), facts.sizes.get(name)
            if size is None:
                wrong.append(f"stored file {name} is missing")
            elif recorded is not None and size != recorded:
                wrong.append(f"stored file {name} has another size than recorded")
        if len(wrong) > 1:
            return f"{wrong[0]}, and {len(wrong) - 1} more are damaged"
        return wrong[0] if wrong else None

    def _size(self, place: str) -> int | None:
        if self._root:
            try:
                return os.stat(f"{self._root}/{place}").st_size  # noqa: PTH116
            except (FileNotFoundError, NotADirectoryError):
                return None
        if self._listed is None:
            self._listed = self._listing()
        return self._listed.get(place)

    def _listing(self) -> dict[str, int]:
        store, root = self._folder.fs, self._folder.path.strip("/")
        store.invalidate_cache(self._folder.path)
        try:
            found = store.find(self._folder.path, detail=True)
        except FileNotFoundError:
            return {}
        return {
            path.strip("/").removeprefix(root).strip("/"): int(entry.get("size") or 0)
            for path, entry in found.items()
        }
