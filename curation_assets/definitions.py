"""The code location: every pool of the project's `pools` folder."""

import dagster as dg

from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.run.executors import chosen_executor
from curation_assets.project import find_home, pools_of


@dg.definitions
def defs() -> dg.Definitions:
    """Assemble the definitions of every pool; what is wrong in the folder goes to the log too.

    This location holds pools only, so it has their executor too. To merge pools with other definitions, use
    `build_definitions`, which has none.
    """
    home = find_home()
    pools = pools_of(home)
    for problem in pools.problems():
        dg.get_dagster_logger("pools").warning(problem)
    built = build_definitions(list(pools.specs.values()), home, pools.broken.values())
    return dg.Definitions.merge(built, dg.Definitions(executor=chosen_executor()))
