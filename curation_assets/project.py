"""Where a project keeps its pools, its curated data and its Dagster instance."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from curation_assets.errors import PoolSpecError
from curation_assets.pools import PoolSpec, load_pool_specs
from curation_assets.storage.pool_storage import PoolStorage

HOME_VARIABLE = "CURATION_HOME"
STORAGE_VARIABLE = "CURATION_STORAGE"
STATE_VARIABLE = "CURATION_STATE"
DAGSTER_HOME_VARIABLE = "DAGSTER_HOME"
"""Folder that holds Dagster's settings, dagster.yaml."""


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

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make another process work on this project."""
        return {
            HOME_VARIABLE: str(self.folder),
            STORAGE_VARIABLE: self.storage_root,
            STATE_VARIABLE: str(self.dagster_state),
        }

    def storage(self, pool: str) -> PoolStorage:
        """Stored outputs of a pool."""
        return PoolStorage(self.storage_root, pool)


def find_home() -> Home:
    """The project's folders, from the environment as it is now."""
    folder = Path(os.environ.get(HOME_VARIABLE, ".")).resolve()
    storage_root = os.environ.get(STORAGE_VARIABLE, str(folder / "data" / "curated"))
    state = Path(os.environ.get(STATE_VARIABLE, folder / "data" / "dagster")).resolve()
    return Home(folder, storage_root, state)


def open_home() -> Home:
    """The project's home; creates the state folder, and sets Dagster's variables where the user has not."""
    home = find_home()
    os.environ.setdefault(STATE_VARIABLE, str(home.dagster_state))
    home.dagster_state.mkdir(parents=True, exist_ok=True)
    if DAGSTER_HOME_VARIABLE not in os.environ:
        config = home.folder / "dagster.yaml"
        os.environ[DAGSTER_HOME_VARIABLE] = str(home.folder if config.exists() else home.dagster_state)
    return home


def find_spec(home: Home, pool: str) -> PoolSpec:
    """A pool by name.

    Raises:
        PoolSpecError: if the pool does not exist, with the names of those that do.
    """
    specs = load_pool_specs(home.pools_folder)
    if pool not in specs:
        raise PoolSpecError(
            f"--pool {pool}: no such pool in {home.pools_folder}; there are: {', '.join(specs) or 'none'}"
        )
    return specs[pool]


def embedded_size(storage: PoolStorage) -> tuple[int, int] | None:
    """Rows and dimensions of a pool's embeddings; None unless every shard is embedded."""
    summaries = []
    for shard in storage.shards():
        facts = storage.output("embeddings", shard.key).facts()
        if facts is None:
            return None
        summaries.append(facts.summary)
    if not summaries:
        return None
    return sum(summary["n_rows"] for summary in summaries), int(summaries[0]["dimension"])
