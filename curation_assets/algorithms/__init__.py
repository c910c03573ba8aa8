"""The method as a library: numpy arrays in and out, no Dagster, no files.

tree = fit_hierarchy(x, [LevelSpec(n_clusters=2000), LevelSpec(n_clusters=200)], metric="cosine", seed=0)
indices = sample_balanced(tree, target_size=5000, seed=0)
"""

from curation_assets.algorithms.balance import effective_number
from curation_assets.algorithms.hierarchy import LevelSpec, fit_hierarchy
from curation_assets.algorithms.sampling.balanced import sample_balanced
from curation_assets.algorithms.tree import ClusterTree

__all__ = ["ClusterTree", "LevelSpec", "effective_number", "fit_hierarchy", "sample_balanced"]
