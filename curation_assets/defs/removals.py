"""The check of what deduplication removed."""

import dagster as dg

from curation_assets.defs.metadata import table
from curation_assets.steps.cleaning.removed_shares import large_removals, removal_lines
from curation_assets.steps.context import PoolAccess

_ROWS_SHOWN = 50


def removals_are_few(pool: PoolAccess) -> dg.AssetCheckResult:
    """Whether no shard and no label lost most of its samples as duplicates; warns with examples."""
    limit = pool.spec.deduplication.max_removed_share if pool.spec.deduplication else 1.0
    found = large_removals(pool.spec, pool.storage)
    rows = [
        {
            "of": group.what,
            "removed": group.n_removed,
            "samples": group.n_samples,
            "share": f"{group.share:.1%}",
            "examples": "; ".join(group.examples),
        }
        for group in found[:_ROWS_SHOWN]
    ]
    words = f"no shard and no label lost more than {limit:.0%} of its samples as duplicates"
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(removal_lines(pool.spec, pool.storage, found)) if found else words,
        metadata={"allowed_share": limit, "n_wrong": len(found), **table("large_removals", rows)},
    )
