"""Where the data of a pool lies, for assets and checks.

Not a resource of Dagster's: its key could be another's, and the launch dialog, or whoever reaches the server, could
give other folders in its config.
"""

from __future__ import annotations

from curation_assets.pools import PoolSpec
from curation_assets.project import Home
from curation_assets.steps.context import PoolAccess


def access(spec: PoolSpec, home: Home) -> PoolAccess:
    """A pool with its outputs and readers, in the folders of the code location."""
    return PoolAccess(spec, home.storage(spec.name), str(home.folder))
