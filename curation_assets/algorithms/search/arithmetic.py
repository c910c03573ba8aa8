"""The seam of what is computed row by row and pair by pair; `plain` is the reference of the other implementations."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from curation_assets.algorithms.search.cuda.compact import Block


class Arithmetic(ABC):
    """Formulas for rows, for pairs of a row and a centroid, and for sums of clusters, on one kind of device.

    Rows come as a float32 tensor (b, d), or as they are stored (`CompactBlock`).
    """

    tile_rows = 4096
    """Rows to work on together, where nothing else limits them."""

    @abstractmethod
    def scores(self, block: Block, centroids: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Scores x.c + bias of all rows against all centroids, within `rounding.product_error`.

        Args:
            block: b rows.
            centroids: float32 (k, d).
            bias: float32 (k,): -|c|^2 / 2.

        Returns:
            float32 (b, k).
        """

    @abstractmethod
    def pair_scores(
        self,
        block: Block,
        rows: torch.Tensor | None,
        centroids: torch.Tensor,
        bias: torch.Tensor,
        clusters: torch.Tensor,
    ) -> torch.Tensor:
        """Scores x.c + bias of (row, centroid) pairs, within `rounding.product_error`.

        Args:
            block: b rows.
            rows: int64 (p,) rows of the block; None pairs row i with clusters[i].
            centroids: float32 (k, d).
            bias: float32 (k,): -|c|^2 / 2.
            clusters: int64 (p,).

        Returns:
            float32 (p,).
        """

    @abstractmethod
    def squared_distances(
        self, block: Block, rows: torch.Tensor | None, centroids: torch.Tensor, clusters: torch.Tensor
    ) -> torch.Tensor:
        """Squared Euclidean distances |x - c|^2 of (row, centroid) pairs, summed in float64.

        The sum of a pair runs over its d terms alone: its value does not depend on the other pairs.

        Args:
            block: b rows.
            rows: int64 (p,) rows of the block; None pairs row i with clusters[i].
            centroids: float32 (k, d).
            clusters: int64 (p,).

        Returns:
            float64 (p,).
        """

    @abstractmethod
    def squared_lengths(self, block: Block) -> torch.Tensor:
        """Squared Euclidean lengths of rows, summed in float64 (b,)."""

    @abstractmethod
    def lengths(self, block: Block) -> torch.Tensor:
        """Euclidean lengths of rows, float32 (b,), within a few roundings."""

    @abstractmethod
    def moved_rows(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Which rows of two matrices, both float32 (k, d), differ, bool (k,)."""

    @abstractmethod
    def add_rows(
        self,
        block: Block,
        rows: torch.Tensor | None,
        clusters: torch.Tensor,
        mass: torch.Tensor,
        sums: torch.Tensor,
    ) -> None:
        """Add rows, each times its mass, to the sums of their clusters.

        Rows are multiples of a grid step, so the sums are exact in any order (docs/design/exact_sums.md).

        Args:
            block: b rows.
            rows: int64 (p,) rows of the block; None takes all of them.
            clusters: int64 (p,).
            mass: float64 (p,).
            sums: float64 (k, d), added to.
        """
