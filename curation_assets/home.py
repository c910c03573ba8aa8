"""Where a project keeps its pools, its curated data and its Dagster instance."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """Folders of one project; every environment variable is optional."""

    folder: Path
    """Project folder, CURATION_HOME or the current folder: relative pool paths count from here."""
    storage_root: str
    """Folder or fsspec URI of everything the graph makes: CURATION_STORAGE or data/curated."""
    dagster_state: Path
    """Runs, events and logs of Dagster: CURATION_STATE or data/dagster."""

    @property
    def pools_folder(self) -> Path:
        """Folder of the pools' YAML files."""
        return self.folder / "pools"


def find_home() -> Home:
    """The project's folders, from the environment as it is now."""
    folder = Path(os.environ.get("CURATION_HOME", ".")).resolve()
    storage_root = os.environ.get("CURATION_STORAGE", str(folder / "data" / "curated"))
    state = Path(os.environ.get("CURATION_STATE", folder / "data" / "dagster")).resolve()
    return Home(folder, storage_root, state)
