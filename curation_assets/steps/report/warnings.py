"""Warnings of the report."""

from __future__ import annotations

from collections.abc import Sequence

from curation_assets.report.data import LevelSummary, TargetSummary

DOMINATING_SHARE = 0.3


def dominating_share(n_clusters: int) -> float:
    """Share of the pool above which one of `n_clusters` clusters dominates.

    0.3; with fewer than five clusters, 1.5 times an equal share.
    """
    return max(DOMINATING_SHARE, 1.5 / max(1, n_clusters))


def tree_warnings(levels: Sequence[LevelSummary], targets: Sequence[TargetSummary]) -> list[str]:
    """Warns of a collapsed tree, of targets that lose to a baseline, and of labels without a sample."""
    found = []
    if levels[-1].largest_share > dominating_share(len(levels[-1].sizes)):
        found.append(
            f"The largest top-level cluster holds {levels[-1].largest_share:.0%} of the pool: the hierarchy has "
            f"collapsed into it. Try fewer levels, more clusters at the top, centring, or another encoder."
        )
    for target in targets:
        if target.comparison is None:
            continue
        verdict = target.comparison.verdict
        lines = [*verdict.alarms, *verdict.unsampled, *([verdict.remedy] if verdict.remedy else [])]
        found += [f"Target '{target.name}': {line}" for line in lines]
    return found
