"""Warnings of the report."""

from __future__ import annotations

from collections.abc import Sequence

from curation_assets.report.data import LevelSummary, TargetSummary
from curation_assets.steps.tree.levels import collapse_of


def tree_warnings(levels: Sequence[LevelSummary], targets: Sequence[TargetSummary]) -> list[str]:
    """Warns of collapsed levels, of targets that lose to a baseline, and of labels without a sample."""
    found = [
        f"Level {level.level} has collapsed: {collapse_of(len(level.sizes), level.largest_share)}."
        for level in levels
        if level.collapsed
    ]
    for target in targets:
        if target.comparison is None:
            continue
        verdict = target.comparison.verdict
        lines = [*verdict.alarms, *verdict.unsampled, *([verdict.remedy] if verdict.remedy else [])]
        found += [f"Target '{target.name}': {line}" for line in lines]
    return found
