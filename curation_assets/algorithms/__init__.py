"""The method as a library: numpy arrays in and out, no Dagster, no files.

tree = fit_hierarchy(x, plan_levels(len(x), target_size=5000), metric="cosine", seed=0)
indices = sample_balanced(tree, target_size=5000, seed=0)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation_assets.algorithms.balance import effective_number
    from curation_assets.algorithms.costs.planning import plan_levels
    from curation_assets.algorithms.hierarchy import LevelSpec, fit_hierarchy
    from curation_assets.algorithms.sampling.balanced import sample_balanced
    from curation_assets.algorithms.tree import ClusterTree

__all__ = ["ClusterTree", "LevelSpec", "effective_number", "fit_hierarchy", "plan_levels", "sample_balanced"]
_MODULES = {
    "ClusterTree": "tree",
    "LevelSpec": "hierarchy",
    "effective_number": "balance",
    "fit_hierarchy": "hierarchy",
    "plan_levels": "costs.planning",
    "sample_balanced": "sampling.balanced",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: `settings` is read at start-up, which should not load torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
