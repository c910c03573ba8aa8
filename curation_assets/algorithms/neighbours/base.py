"""What a search gives: pairs of a query and a reference that may be close enough, by products in float32."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of a query and a reference, in no particular order; each at most once."""

    row: torch.Tensor
    """int64 (p,): the query."""
    column: torch.Tensor
    """int64 (p,): the reference."""
    score: torch.Tensor
    """float32 (p,): their inner product, rounded."""


class FlatSearch(ABC):
    """Compares every query with every reference, by inner products in float32.

    Sums are in any order, so scores are off by up to `rounding.product_error`. What that leaves open is decided in
    `exact`: results are the same with every implementation.
    """

    @abstractmethod
    def leading(
        self, queries: torch.Tensor, references: torch.Tensor, k: int, slack: float
    ) -> Iterator[tuple[torch.Tensor, Pairs]]:
        """All pairs whose score is at least the k-th highest of their query, less `slack`; a few more may come.

        Args:
            queries: float32 (n, d), in C order.
            references: float32 (m, d), in C order on the same device, m >= k.
            k: at least 1.
            slack: of scores.

        Yields:
            Some of the queries, int64 (q,), ascending, with all their pairs. Each query comes once, and few come
            together where they have many candidates.
        """

    @abstractmethod
    def above(self, queries: torch.Tensor, references: torch.Tensor, floor: float) -> Pairs:
        """All pairs whose score is at least `floor`.

        Args:
            queries: float32 (n, d), in C order.
            references: float32 (m, d), in C order on the same device.
            floor: a score.
        """


def joined(parts: list[Pairs], like: torch.Tensor) -> Pairs:
    """Pairs of several parts; of none on the device of `like`."""
    if not parts:
        empty = torch.empty(0, dtype=torch.int64, device=like.device)
        return Pairs(empty, empty, like.new_empty(0))
    if len(parts) == 1:
        return parts[0]
    return Pairs(
        torch.cat([part.row for part in parts]),
        torch.cat([part.column for part in parts]),
        torch.cat([part.score for part in parts]),
    )
