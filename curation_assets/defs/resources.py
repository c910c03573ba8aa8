"""Resources: where the project keeps its data."""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from curation_assets.pools import PoolSpec
from curation_assets.steps.context import PoolAccess
from curation_assets.storage.pool_storage import PoolStorage


class CurationResource(dg.ConfigurableResource):
    """Gives assets and checks access to the pools."""

    home_folder: str = Field(description="Project folder; relative paths of pools count from here.")
    storage_root: str = Field(description="Folder or fsspec URI of everything that the graph makes.")

    def pool(self, spec: PoolSpec) -> PoolAccess:
        """A pool with its outputs and readers."""
        return PoolAccess(spec, PoolStorage(self.storage_root, spec.name), self.home_folder)
