"""The settings of a level: those that decide its fits, and the LevelSpec once the number of samples is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from curation_assets.pools import PoolSpec

if TYPE_CHECKING:
    from curation_assets.algorithms import LevelSpec

PLANNER_VERSION = "2"
"""Of the levels that `auto` plans: part of the code version of level 1 where they are planned, and nowhere else."""


def fit_settings(spec: PoolSpec, level: int) -> dict[str, Any]:
    """The settings that decide the first fit of a level."""
    settings = spec.levels[level - 1]
    decisive: dict[str, Any] = {
        "n_clusters": settings.n_clusters,
        "n_coarse_clusters": settings.n_coarse_clusters,
        "max_iterations": settings.max_iterations,
        "tolerance": settings.tolerance,
        "metric": spec.preprocessing.metric,
        "seed": spec.seed,
    }
    if level == 1:
        decisive["centring"] = spec.preprocessing.centring
        if spec.fit_rows is not None:
            decisive["fit_rows"] = spec.fit_rows
        if settings.n_clusters == "auto":
            decisive |= {
                "n_levels": spec.n_levels,
                "planned_for": _largest_targets(spec),
                "planner": PLANNER_VERSION,
            }
    return decisive


def resampling_settings(spec: PoolSpec, level: int) -> dict[str, Any]:
    """The settings that decide the fits after it."""
    settings = spec.levels[level - 1]
    return {
        "resampling_steps": settings.steps_at(level),
        "samples_per_cluster": settings.samples_per_cluster,
        "strategy": settings.strategy,
    }


def level_specs(spec: PoolSpec, n_samples: int) -> list[LevelSpec]:
    """Settings of the levels that are fitted, with the values left at 'auto' planned.

    'auto' is planned for the rows that level 1 is fitted on, and for their share of the largest target in samples. The
    plan may have fewer levels than the pool: those at the top are then dropped, see `why_dropped`.

    Args:
        spec: the pool.
        n_samples: its embedded samples.

    Raises:
        PoolSpecError: if level 1 asks for more clusters than there are samples, or a target is too large.
    """
    from curation_assets.algorithms.costs.planning import plan_levels
    from curation_assets.algorithms.hierarchy import LevelSpec

    spec.require_feasible(n_samples)
    planned: list[int] = []
    if spec.plans_levels:
        sizes = [target.resolve(n_samples) for target in spec.targets if target.tokens is None]
        n_fitted = spec.n_rows_of_fit(n_samples)
        # A sample of the pool is planned as a pool of its size would be.
        largest = max(1, max(sizes) * n_fitted // n_samples) if sizes else None
        levels = plan_levels(n_fitted, spec.n_levels, largest)
        planned = [level.n_clusters for level in levels]
    return [
        LevelSpec(
            n_clusters=planned[t] if settings.n_clusters == "auto" else settings.n_clusters,
            samples_per_cluster=None
            if settings.samples_per_cluster == "auto"
            else settings.samples_per_cluster,
            resampling_steps=settings.steps_at(t + 1),
            strategy=settings.strategy,
            n_coarse_clusters=settings.n_coarse_clusters,
            max_iterations=settings.max_iterations,
            tolerance=settings.tolerance,
        )
        for t, settings in enumerate(spec.levels[: len(planned) or spec.n_levels])
    ]


def why_dropped(levels: Sequence[LevelSpec]) -> str:
    """Why the levels above the planned ones are dropped, and what that means.

    A dropped level repeats the clusters of the level below, one by one, because the levels of a pool are assets and
    their number is known before its rows are.
    """
    from curation_assets.algorithms.costs.planning import LEAST_RATIO

    room = f"{len(levels)} levels" if len(levels) > 1 else "no level above it"
    return (
        f"{levels[0].n_clusters:,} clusters at level 1 leave room for {room}, if neighbours differ by a factor of "
        f"{LEAST_RATIO} or more. A dropped level repeats the clusters of level {len(levels)}; to have it, set "
        f"n_clusters at every level"
    )


def dropped_line(first: int, last: int, why: str) -> str:
    """One line for the dropped levels, from the first to the last."""
    which = f"level {first} is" if first == last else f"levels {first} to {last} are"
    return f"{which} dropped: {why}"


def _largest_targets(spec: PoolSpec) -> dict[str, float | None]:
    """What decides the largest target in samples, whatever the size of the pool."""
    sizes = [target.size for target in spec.targets if target.size is not None]
    fractions = [target.fraction for target in spec.targets if target.fraction is not None]
    return {"size": max(sizes, default=None), "fraction": max(fractions, default=None)}
