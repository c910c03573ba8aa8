"""A code location of your own with a curated pool in it: an asset downstream of the dataset, and an alert.

After `make demo`, in the repository: `dagster dev -f deploy/examples/definitions.py`.
"""

import os
import urllib.request

import dagster as dg
import polars as pl

from curation_assets.defs.pool_definitions import build_definitions
from curation_assets.defs.run.tags import PARENT_RUN_TAG, POOL_TAG
from curation_assets.pools import read_pools
from curation_assets.project import find_home
from curation_assets.release import Release

POOL, TARGET = "emoji", "balanced_10"


@dg.asset(
    ins={"release": dg.AssetIn(key=[POOL, "dataset_release"])},
    # Runs whenever the pool has made another release.
    automation_condition=dg.AutomationCondition.eager(),
    group_name="training",
)
def groups(release: Release) -> pl.DataFrame:
    """How many samples of each group the dataset has; stored by the IO manager of this location."""
    samples = release.scan(TARGET)
    return samples.group_by("label_group").len().sort("len", "label_group", descending=True).collect()


@dg.run_failure_sensor(default_status=dg.DefaultSensorStatus.STOPPED)
def curation_failed(context: dg.RunFailureSensorContext) -> None:
    """One message for each curation that failed, not one for each of its waves, and none for other runs."""
    tags = context.dagster_run.tags
    if POOL_TAG in tags and PARENT_RUN_TAG not in tags:
        tell(f"The curation of {tags[POOL_TAG]} failed: {context.failure_event.message}")


def tell(text: str) -> None:
    """Post a line to the webhook that ALERT_URL names."""
    request = urllib.request.Request(os.environ["ALERT_URL"], text.encode(), method="POST")
    urllib.request.urlopen(request, timeout=10).close()


@dg.definitions
def defs() -> dg.Definitions:
    """Your definitions, with the pools of the project folder beside them."""
    home = find_home()
    pools = read_pools(home.pools_folder)
    yours = dg.Definitions(
        assets=[groups],
        sensors=[curation_failed],
        # Where `groups` is stored: curated pools have an IO manager of their own.
        resources={"io_manager": dg.FilesystemIOManager(base_dir=str(home.folder / "data" / "mine"))},
    )
    return dg.Definitions.merge(
        yours, build_definitions(list(pools.specs.values()), home, pools.broken.values())
    )
