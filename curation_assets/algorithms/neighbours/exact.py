"""Exact answers: a search gives the pairs that rounding leaves open, and float64 decides.

Rows of unit length on the grid of `preprocessing` have inner products that float64 holds exactly, in whatever order
they are summed. So answers depend neither on the device, nor on threads, nor on whether faiss or torch searched.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from curation_assets.algorithms.neighbours.base import FlatSearch, Pairs
from curation_assets.algorithms.neighbours.choose import flat_search
from curation_assets.algorithms.search.pairs import squared_distances, squared_lengths
from curation_assets.algorithms.search.rounding import product_error

Exact = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes int64 rows of queries and columns of references, both (p,), and gives the similarity of each pair, float64."""
# Prepared rows are off unit length by less than 2^-20.
_LENGTHS = 1 + 2.0**-18


def most_similar(
    queries: torch.Tensor,
    references: torch.Tensor,
    k: int,
    *,
    exact: Exact | None = None,
    error: float | None = None,
    search: FlatSearch | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k references of the highest inner product for every query; of equal ones the lowest index.

    Args:
        queries: float32 (n, d), on the grid and of unit length, or zero.
        references: float32 (m, d), likewise, on the same device.
        k: at most m.
        exact: similarity to rank by; None takes the inner product.
        error: by how much a product in float32 may differ from that similarity; None takes rows of unit length.
        search: None takes the one for the device.

    Returns:
        Columns int64 (n, k), the most similar first, and similarities float64 (n, k). Peak memory beside them: a few
        candidates of each query, and where many references are copies of each other, 80 bytes for each score of a tile.
    """
    error = product_error(queries.shape[1]) * _LENGTHS if error is None else error
    exact = exact or (lambda row, column: products(queries, row, references, column))
    way = search or _search(queries, references)
    columns = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    similarities = torch.empty(len(queries), k, dtype=torch.float64, device=queries.device)
    # The k best are at least the k-th highest score - error, their scores an error less at worst. The rest covers the
    # rounding of that difference.
    for numbers, pairs in way.leading(queries, references, k, 2.5 * error):
        similarity = exact(pairs.row, pairs.column)
        best = _highest(numbers, pairs, similarity, k)
        columns[numbers], similarities[numbers] = pairs.column[best], similarity[best]
    return columns, similarities


def _highest(numbers: torch.Tensor, pairs: Pairs, similarity: torch.Tensor, k: int) -> torch.Tensor:
    """Places of the k most similar pairs of each query, int64 (q, k); of equal ones the lowest columns."""
    order = torch.argsort(pairs.column, stable=True)
    order = order[torch.argsort(similarity[order], stable=True, descending=True)]
    order = order[torch.argsort(pairs.row[order], stable=True)]
    firsts = torch.searchsorted(pairs.row[order], numbers)
    return order[firsts[:, None] + torch.arange(k, device=numbers.device)]


def pairs_within(
    queries: torch.Tensor, references: torch.Tensor, threshold: float, *, search: FlatSearch | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs whose inner product is at least the threshold.

    Args:
        queries: float32 (n, d), on the grid and of unit length, or zero.
        references: float32 (m, d), likewise, on the same device.
        threshold: of inner products.
        search: None takes the one for the device.

    Returns:
        int64 (p,) positions in `queries` and in `references`, in no particular order.
    """
    # |score - product| <= error, and the threshold is rounded too: pairs that close to it are summed again.
    margin = 1.5 * product_error(queries.shape[1]) * _LENGTHS
    pairs = (search or _search(queries, references)).above(queries, references, threshold - margin)
    unsure = torch.nonzero(pairs.score <= threshold + margin).flatten()
    if not len(unsure):
        return pairs.row, pairs.column
    below = products(queries, pairs.row[unsure], references, pairs.column[unsure]) < threshold
    stays = torch.ones(len(pairs.row), dtype=torch.bool, device=queries.device)
    stays[unsure[below]] = False
    return pairs.row[stays], pairs.column[stays]


def _search(queries: torch.Tensor, references: torch.Tensor) -> FlatSearch:
    return flat_search(queries.device, len(queries) * len(references))


def products(
    left: torch.Tensor, row: torch.Tensor, right: torch.Tensor, column: torch.Tensor
) -> torch.Tensor:
    """Inner products of pairs (left[row], right[column]) of rows on the grid, float64 (p,), without rounding."""
    # x.y = (|x|^2 + |y|^2 - |x - y|^2) / 2, of which each is a whole multiple of 2^-48 and at most 4: 51 bits.
    lengths = _squared_lengths(left, row) + _squared_lengths(right, column)
    return (lengths - squared_distances(left, row, right, column)) / 2


def _squared_lengths(block: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return squared_lengths(block[rows]) if len(rows) < len(block) else squared_lengths(block)[rows]
