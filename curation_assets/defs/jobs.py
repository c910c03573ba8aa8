"""Jobs: what the command line and people run."""

from __future__ import annotations

import dagster as dg


def whole_pool_job(pool: str) -> str:
    """Name of the job that holds every asset and check of a pool."""
    return f"{pool}_all"


def build_jobs(pool: str) -> list[dg.UnresolvedAssetJobDefinition]:
    """The jobs of a pool."""
    return [
        dg.define_asset_job(
            whole_pool_job(pool),
            selection=dg.AssetSelection.key_prefixes([pool]),
            description=f"Curates the pool '{pool}' from its files to the report. From a shell: "
            f"`curation-assets run --pool {pool}` runs only what is out of date.",
            executor_def=dg.in_process_executor,
        )
    ]
