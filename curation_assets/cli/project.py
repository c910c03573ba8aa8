"""The project as the command line sees it: its home and its pools."""

from __future__ import annotations

import os

from curation_assets.errors import PoolSpecError
from curation_assets.home import Home, find_home
from curation_assets.pools import PoolSpec, load_pool_specs
from curation_assets.storage.pool_storage import PoolStorage


def open_home() -> Home:
    """The project's home; Dagster's environment follows it where the user has not set it."""
    home = find_home()
    os.environ.setdefault("CURATION_STATE", str(home.dagster_state))
    home.dagster_state.mkdir(parents=True, exist_ok=True)
    if "DAGSTER_HOME" not in os.environ:
        config = home.folder / "dagster.yaml"
        os.environ["DAGSTER_HOME"] = str(home.folder if config.exists() else home.dagster_state)
    return home


def find_spec(home: Home, pool: str) -> PoolSpec:
    """A pool by name.

    Raises:
        PoolSpecError: if there is none, naming those there are.
    """
    specs = load_pool_specs(home.pools_folder)
    if pool not in specs:
        raise PoolSpecError(
            f"--pool {pool}: no such pool in {home.pools_folder}; there are: {', '.join(specs) or 'none'}"
        )
    return specs[pool]


def embedded_size(storage: PoolStorage) -> tuple[int, int] | None:
    """Rows and dimensions of a pool's embeddings; None if some shard is not embedded yet, or there is none."""
    summaries = []
    for shard in storage.shards():
        facts = storage.output("embeddings", shard.key).facts()
        if facts is None:
            return None
        summaries.append(facts.summary)
    if not summaries:
        return None
    return sum(summary["n_rows"] for summary in summaries), int(summaries[0]["dimension"])
