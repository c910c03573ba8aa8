"""All rows of a matrix to their nearest centroids, tile by tile on the device."""

from __future__ import annotations

import numpy as np
import torch

from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.rows import Rows
from curation_assets.algorithms.search.assigner import Assigner, assign_rows
from curation_assets.algorithms.search.base import SearchedRows
from curation_assets.algorithms.search.choose import Choice, holds_stored
from curation_assets.algorithms.search.cuda.compact import Block
from curation_assets.algorithms.search.pairs import lengths
from curation_assets.algorithms.threads import parts_on_threads


def assign_tiles(rows: Rows, assigner: Assigner, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Nearest centroid and distance of prepared rows, copied to the device ahead of the search.

    Args:
        rows: prepared rows (n, d).
        assigner: to the centroids, on the device.
        device: torch device.

    Returns:
        clusters int64 (n,) and distances float32 (n,).
    """
    search = assigner.search_for(rows.n_rows)
    clusters = torch.empty(rows.n_rows, dtype=torch.int64, device=device)
    distances = torch.empty(rows.n_rows, dtype=torch.float32, device=device)

    def assign(start: int, block: Block) -> None:
        tile = slice(start, start + len(block))
        searched = SearchedRows(block, lengths(block))
        clusters[tile], distances[tile] = assign_rows(search, searched, assigner.metric)

    with parts_on_threads():
        TiledRows(rows, device, resident_bytes=0).each_tile(assign, search.tile_rows())
    return clusters.cpu().numpy(), distances.cpu().numpy()


def pays_for_tiles(device: str, choice: Choice | None = None) -> bool:
    """Whether `assign_tiles` is faster than blocks that the host prepares: where the device prepares them."""
    return holds_stored(device, choice)
