"""The settings of a level: those that decide its fits, and the LevelSpec once the number of samples is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curation_assets.errors import PoolSpecError
from curation_assets.pools import PoolSpec

if TYPE_CHECKING:
    from curation_assets.algorithms import LevelSpec


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
            decisive["n_levels"] = spec.n_levels
    return decisive


def resampling_settings(spec: PoolSpec, level: int) -> dict[str, Any]:
    """The settings that decide the fits after it."""
    settings = spec.levels[level - 1]
    return {
        "resampling_steps": settings.steps,
        "samples_per_cluster": settings.samples_per_cluster,
        "strategy": settings.strategy,
    }


def level_specs(spec: PoolSpec, n_samples: int) -> list[LevelSpec]:
    """Settings of every level, with the values left at 'auto' planned.

    Args:
        spec: the pool.
        n_samples: its embedded samples; 'auto' is planned for those of them that level 1 is fitted on.

    Raises:
        PoolSpecError: if level 1 asks for more clusters than there are samples, or the samples are too few.
    """
    from curation_assets.algorithms.costs.planning import plan_n_clusters
    from curation_assets.algorithms.hierarchy import LevelSpec

    spec.require_feasible(n_samples)
    planned: list[int] = []
    if spec.levels[0].n_clusters == "auto":
        try:
            planned = plan_n_clusters(spec.n_rows_of_fit(n_samples), spec.n_levels)
        except ValueError as error:
            raise PoolSpecError(f"pool '{spec.name}': levels cannot be planned: {error}") from error
    return [
        LevelSpec(
            n_clusters=planned[t] if settings.n_clusters == "auto" else settings.n_clusters,
            samples_per_cluster=None
            if settings.samples_per_cluster == "auto"
            else settings.samples_per_cluster,
            resampling_steps=settings.steps,
            strategy=settings.strategy,
            n_coarse_clusters=settings.n_coarse_clusters,
            max_iterations=settings.max_iterations,
            tolerance=settings.tolerance,
        )
        for t, settings in enumerate(spec.levels)
    ]
