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
    """Warns of a collapsed tree, and of targets that are less diverse than a random subset."""
    found = []
    if levels[-1].largest_share > dominating_share(len(levels[-1].sizes)):
        found.append(
            f"The largest top-level cluster holds {levels[-1].largest_share:.0%} of the pool: the hierarchy has "
            f"collapsed into it. Try fewer levels, more clusters at the top, centring, or another encoder."
        )
    for target in targets:
        by_name = {subset.name: subset for subset in target.subsets}
        balanced, random = by_name["balanced"], by_name["random"]
        if balanced.effective_labels is not None and random.effective_labels is not None:
            if balanced.effective_labels < random.effective_labels:
                found.append(
                    f"Target '{target.name}' has fewer effective labels ({balanced.effective_labels:.1f}) than a "
                    f"random subset of its size ({random.effective_labels:.1f})."
                )
        elif balanced.effective_clusters[1] < random.effective_clusters[1]:
            found.append(
                f"Target '{target.name}' covers level 1 less evenly than a random subset of its size."
            )
    return found
