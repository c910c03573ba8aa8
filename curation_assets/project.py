"""Where a project keeps its pools, its curated data and its Dagster instance."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from curation_assets.errors import PoolSpecError
from curation_assets.pools import PoolFolder, PoolSpec, read_pools
from curation_assets.pools.folder import SUFFIX
from curation_assets.pools.projects.components import component_files, read_component_file
from curation_assets.pools.projects.toml_files import read_toml
from curation_assets.pools.secrets import REMEDY, secret_of
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import CurationReport

HOME_VARIABLE = "CURATION_HOME"
STORAGE_VARIABLE = "CURATION_STORAGE"
STATE_VARIABLE = "CURATION_STATE"
DAGSTER_HOME_VARIABLE = "DAGSTER_HOME"
"""Folder that holds Dagster's settings, dagster.yaml."""
REPORT_PORT_VARIABLE = "CURATION_REPORT_PORT"
LOOPBACK = "127.0.0.1"
"""Servers of this project listen to this machine only."""
_REPORT_PORT = 3001


@dataclass(frozen=True, slots=True)
class Home:
    """Folders of one project; every environment variable is optional."""

    folder: Path
    """Project folder, CURATION_HOME or the current folder: relative pool paths count from here."""
    storage_root: str
    """Folder or fsspec URI of everything the graph makes: CURATION_STORAGE, or what pyproject.toml says, or
    data/curated."""
    dagster_state: Path
    """Runs, events and logs of Dagster: CURATION_STATE or data/dagster."""
    report_port: int = _REPORT_PORT
    """Port of this machine on which reports are served: CURATION_REPORT_PORT."""

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


def find_home(folder: Path | None = None) -> Home:
    """The project's folders, from the environment as it is now.

    Args:
        folder: of the project; None is CURATION_HOME, or else the current folder.

    Raises:
        PoolSpecError: if a variable makes no sense, or the storage's URI holds a secret.
    """
    folder = (folder or Path(os.environ.get(HOME_VARIABLE, "."))).resolve()
    given = os.environ.get(STORAGE_VARIABLE)
    storage_root = given or _declared_storage(folder)
    if secret := secret_of(storage_root):
        where = STORAGE_VARIABLE if given else f"tool.curation_assets.storage of {folder / 'pyproject.toml'}"
        raise PoolSpecError(f"{where} holds credentials ({secret}): {REMEDY}")
    state = Path(os.environ.get(STATE_VARIABLE, folder / "data" / "dagster")).resolve()
    return Home(folder, storage_root, state, _report_port())


def open_home() -> Home:
    """The project's home; creates the state folder, and sets Dagster's variables where the user has not."""
    home = find_home()
    os.environ.setdefault(STATE_VARIABLE, str(home.dagster_state))
    home.dagster_state.mkdir(parents=True, exist_ok=True)
    if DAGSTER_HOME_VARIABLE not in os.environ:
        config = home.folder / "dagster.yaml"
        os.environ[DAGSTER_HOME_VARIABLE] = str(home.folder if config.exists() else home.dagster_state)
    return home


def _declared_storage(folder: Path) -> str:
    """The storage that a project's pyproject.toml names; a relative folder counts from the project."""
    file = folder / "pyproject.toml"
    declared = read_toml(file, "tool", "curation_assets").get("storage", "data/curated")
    if not isinstance(declared, str) or not declared.strip():
        raise PoolSpecError(
            f"{file}: tool.curation_assets.storage is {declared!r}: name a folder or an fsspec URI"
        )
    return declared if "://" in declared else str(folder / declared)


def report_url(pool: str) -> str:
    """Address of a pool's report while `curation-assets serve` runs on this machine."""
    return f"http://{LOOPBACK}:{_report_port()}/{pool}/{CurationReport.PAGE}"


def _report_port() -> int:
    given = os.environ.get(REPORT_PORT_VARIABLE) or str(_REPORT_PORT)
    if not re.fullmatch("[0-9]{1,5}", given) or not 1 <= int(given) <= 65535:
        raise PoolSpecError(f"{REPORT_PORT_VARIABLE} is '{given}': give a port from 1 to 65535")
    return int(given)


def find_spec(home: Home, pool: str) -> PoolSpec:
    """A pool by name.

    Raises:
        PoolSpecError: if the pool does not exist, with the names of those that do; if it is broken, with its message.
    """
    return pools_of(home).find(pool)


def pools_of(home: Home) -> PoolFolder:
    """Every pool of the project: of the files in its folder of pools, and of the components in its definitions.

    Raises:
        PoolSpecError: if the folder cannot be listed.
    """
    files = component_files(home.folder)
    return read_pools(home.pools_folder, [pool for file in files for pool in read_component_file(file)])


def is_in_folder(home: Home, spec: PoolSpec) -> bool:
    """Whether settings are those of a file of the project, of a pool or of components; others are of code.

    Raises:
        PoolSpecError: if the folder cannot be listed.
    """
    pools = _pools_as_of(home, _state_of(home))
    return pools.specs.get(spec.name) == spec


def why_not_current(home: Home, spec: PoolSpec) -> str | None:
    """Why settings that a long-lived process has loaded are not those of the pool any more; None if they are."""
    try:
        # The sensors of all pools ask: only the first after a change reads the files.
        current = _pools_as_of(home, _state_of(home)).find(spec.name)
    except PoolSpecError as error:
        return f"the settings of pool '{spec.name}' cannot be read any more: {error}"
    if current == spec:
        return None
    return (
        f"the YAML of pool '{spec.name}' has changed since Dagster loaded it: reload the definitions (Lineage, Reload "
        f"definitions)"
    )


@lru_cache(maxsize=4)
def _pools_as_of(home: Home, state: tuple[Any, ...]) -> PoolFolder:
    return pools_of(home)


def _state_of(home: Home) -> tuple[tuple[str, int, int], ...]:
    """Paths, times and sizes of the YAML files of a project's pools: they differ after an edit."""
    paths = [*sorted(home.pools_folder.glob(f"*{SUFFIX}")), *component_files(home.folder)]
    files = [(path, path.stat()) for path in paths if path.exists()]
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in files)


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
