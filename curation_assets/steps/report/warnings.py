"""Warnings of the report."""

from __future__ import annotations

from collections.abc import Sequence

from curation_assets.report.data import LevelSummary, TargetSummary
from curation_assets.steps.tree.levels import collapse_of


def tree_warnings(levels: Sequence[LevelSummary], targets: Sequence[TargetSummary]) -> list[str]:
    """Warns of collapsed levels, and of targets that are less diverse than a random subset."""
    found = [
        f"Level {level.level} has collapsed: {collapse_of(len(level.sizes), level.largest_share)}."
        for level in levels
        if level.collapsed
    ]
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
