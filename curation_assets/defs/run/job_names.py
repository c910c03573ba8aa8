"""Names of the jobs of a pool, as errors and tags use them."""

from __future__ import annotations


def whole_pool_job(pool: str) -> str:
    """Name of the job that holds every asset and check of a pool."""
    return f"{pool}_all"


def curate_job(pool: str) -> str:
    """Name of the job that does what `curation-assets run` does."""
    return f"{pool}_curate"


def ingest_job(pool: str) -> str:
    """Name of the job that ingests shards."""
    return f"{pool}_ingest_new_shards"


def resample_job(pool: str) -> str:
    """Name of the job that draws the targets again."""
    return f"{pool}_resample_targets"


def recluster_job(pool: str, level: int) -> str:
    """Name of the job that refits a level and all levels above it."""
    return f"{pool}_recluster_from_level_{level}"
