"""Projects as `create-dagster` makes them, each with a root module of its own name."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

_NUMBERS = itertools.count()
EMBEDDED: dict[str, Any] = {
    "source": {"format": "embeddings", "layout": "folder", "path": "data/raw/web", "encoder": "some model"},
    "deduplication": {"exact": False},
    "levels": [{"n_clusters": 6, "resampling_steps": 0}, {"n_clusters": 2, "resampling_steps": 1}],
    "targets": [{"name": "small", "size": 20}],
    "atlas": None,
    "probe": None,
    "fit_device": "cpu",
}
"""Settings that need no encoder."""


@dataclass(frozen=True)
class DgProject:
    """A project that `dg` knows, and its folder of definitions."""

    folder: Path
    module: str

    @property
    def defs(self) -> Path:
        return self.folder / "src" / self.module / "defs"

    def write(self, name: str, *pools: dict[str, Any] | str) -> Path:
        """Declare pools in one `defs.yaml`; a text is written as it is."""
        documents = [
            pool
            if isinstance(pool, str)
            else yaml.safe_dump({"type": "curation_assets.CurationPool", "attributes": pool}, sort_keys=False)
            for pool in pools
        ]
        path = self.defs / name / "defs.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("---\n".join(documents))
        return path

    def load(self) -> dg.Definitions:
        """What Dagster loads."""
        return dg.load_from_defs_folder(path_within_project=self.folder)


def make_dg_project(folder: Path) -> DgProject:
    """Write a project without definitions; its folder `src` must be on the path of modules."""
    project = DgProject(folder, f"somebodys_project_{next(_NUMBERS)}")
    project.defs.mkdir(parents=True)
    for module in (project.defs.parent, project.defs):
        (module / "__init__.py").write_text("")
    (folder / "pyproject.toml").write_text(
        f'[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "{project.module}"\n'
    )
    return project
