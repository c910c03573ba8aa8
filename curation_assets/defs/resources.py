"""Resources: where the project keeps its data."""

from __future__ import annotations

from dataclasses import dataclass

from curation_assets.pools import PoolSpec
from curation_assets.steps.context import PoolAccess
from curation_assets.storage.pool_storage import PoolStorage


# Not a ConfigurableResource: the launch dialog, and whoever reaches the server, could give other folders in its config.
@dataclass(frozen=True, slots=True)
class CurationResource:
    """Gives assets and checks access to the pools. The folders are those of the code location, in every run."""

    home_folder: str
    """Project folder; relative paths of pools count from here."""
    storage_root: str
    """Folder or fsspec URI of everything that the graph makes."""

    def pool(self, spec: PoolSpec) -> PoolAccess:
        """A pool with its outputs and readers."""
        return PoolAccess(spec, PoolStorage(self.storage_root, spec.name), self.home_folder)
