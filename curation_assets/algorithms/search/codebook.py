"""Codebook: centroids ready to be compared with rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from curation_assets.algorithms.search.cuda.compact import Block
from curation_assets.algorithms.search.pairs import arithmetic_of, pair_scores, squared_lengths
from curation_assets.algorithms.search.rounding import product_error

# Scores of a tile of rows against all centroids stay in the last-level cache: measured on 2 cores, k = 2,000,
# d = 384, the search for the best two then adds 20 % to the product instead of 60 %.
TILE_BYTES = 8 * 2**20
MOST_CENTROIDS = 16_384
"""Centroids that are compared with rows at a time."""


@dataclass(frozen=True, slots=True)
class Codebook:
    """Centroids and their biases.

    |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2): the nearest centroid of a row has the highest score x.c + bias.
    """

    centroids: torch.Tensor
    """float32 (k, d)."""
    bias: torch.Tensor
    """float32 (k,): -|c|^2 / 2."""
    largest_norm: float
    """No centroid is longer."""

    @classmethod
    def of(cls, centroids: torch.Tensor) -> Codebook:
        """Prepare float32 centroids of shape (k, d)."""
        squared = squared_lengths(centroids)
        return cls(centroids, (-0.5 * squared).float(), math.sqrt(float(squared.max())))

    def __len__(self) -> int:
        return len(self.centroids)

    def __getitem__(self, numbers: slice | torch.Tensor) -> Codebook:
        """Some of the centroids."""
        if isinstance(numbers, slice):
            return Codebook(self.centroids[numbers], self.bias[numbers], self.largest_norm)
        return Codebook(self.centroids.index_select(0, numbers), self.bias[numbers], self.largest_norm)

    def error_bound(self, norms: torch.Tensor) -> torch.Tensor:
        """Error bound of the float32 scores of rows, from their lengths, both float32 (b,)."""
        # |x.c - fl(x.c)| <= e |x| |c|, and fl of the bias |c|^2 / 2 is off by no more than e |c|^2 / 2. The constant
        # covers numbers below the smallest normal float32.
        error = product_error(self.centroids.shape[1]) * self.largest_norm
        return error * (norms + 0.5 * self.largest_norm) + 1e-37

    def tile_rows(self) -> int:
        """Rows whose scores against all centroids fit the cache."""
        return max(64, min(4096, TILE_BYTES // (4 * max(1, min(len(self), MOST_CENTROIDS)))))

    def scores(self, block: Block) -> torch.Tensor:
        """Scores of b rows against all centroids, float32 (b, k)."""
        return arithmetic_of(block.device).scores(block, self.centroids, self.bias)

    def scores_of(
        self, block: Block, clusters: torch.Tensor, rows: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Scores of rows against one centroid each, float32 (p,); see `pair_scores`."""
        return pair_scores(block, rows, self.centroids, self.bias, clusters)
