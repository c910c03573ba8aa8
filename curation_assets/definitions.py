"""The code location: every pool of the project's `pools` folder."""

import dagster as dg

from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.pools import load_pool_specs
from curation_assets.project import find_home


@dg.definitions
def defs() -> dg.Definitions:
    """Assemble the definitions of every pool."""
    home = find_home()
    return build_definitions(list(load_pool_specs(home.pools_folder).values()), home)
