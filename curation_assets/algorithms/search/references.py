"""Exact nearest references of many rows in bounded memory; both sides may be memory-mapped arrays."""

from __future__ import annotations

import math

import numpy as np
import torch

from curation_assets.algorithms.rows import CHUNK_BYTES, ArrayRows, as_tensor, chunk_bounds
from curation_assets.algorithms.search.base import SearchedRows
from curation_assets.algorithms.search.choose import nearest_centroids
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.pairs import squared_distances

NO_MATCH = -1


def best_matches(
    queries: np.ndarray, references: np.ndarray, *, device: str = "cpu", chunk_bytes: int = CHUNK_BYTES
) -> tuple[np.ndarray, np.ndarray]:
    """The reference of the highest cosine for every query; chunks change nothing.

    Args:
        queries: float array (n, d) of rows of any length; a row of zeros has a cosine of 0 to everything.
        references: float array (m, d), no row of zeros.
        device: torch device.
        chunk_bytes: of queries, and of references, that are float32 in memory at a time.

    Returns:
        index int64 (n,), the lowest of equally near ones, and cosine float32 (n,); NO_MATCH and -1 if there
        are no references. Rows that are equal have a cosine of exactly 1.

    Raises:
        ValueError: if the dimensions differ or a reference has no direction.
    """
    index, squared = _nearest(queries, references, normalise=True, device=device, chunk_bytes=chunk_bytes)
    cosine = np.where(index == NO_MATCH, -1.0, 1.0 - squared / 2).astype(np.float32)
    has_direction = np.asarray(queries).any(axis=1)
    return index, np.where(has_direction | (index == NO_MATCH), cosine, np.float32(0.0))


def nearest_rows(
    queries: np.ndarray, references: np.ndarray, *, device: str = "cpu", chunk_bytes: int = CHUNK_BYTES
) -> tuple[np.ndarray, np.ndarray]:
    """The reference of the smallest Euclidean distance for every query; chunks change nothing.

    Args:
        queries: array (n, d) of numbers that float32 holds.
        references: array (m, d).
        device: torch device.
        chunk_bytes: of queries, and of references, that are float32 in memory at a time.

    Returns:
        index int64 (n,), the lowest of equally near ones, and distance float32 (n,); NO_MATCH and infinity if
        there are no references.

    Raises:
        ValueError: if the dimensions differ.
    """
    index, squared = _nearest(queries, references, normalise=False, device=device, chunk_bytes=chunk_bytes)
    return index, np.sqrt(squared).astype(np.float32)


def pair_cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosines of pairs of rows, float arrays (n, d): float32 (n,), 0 where a row has no direction."""
    a, b = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return ((a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def _nearest(
    queries: np.ndarray, references: np.ndarray, *, normalise: bool, device: str, chunk_bytes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Index int64 (n,) and squared distance float64 (n,) of the nearest references."""
    if queries.shape[1] != references.shape[1]:
        raise ValueError(
            f"queries have {queries.shape[1]} dimensions, references {references.shape[1]}: compare rows of one "
            f"encoder"
        )
    index = np.full(len(queries), NO_MATCH, dtype=np.int64)
    squared = np.full(len(queries), math.inf)
    for start, stop in chunk_bounds(ArrayRows(queries), chunk_bytes):
        block = _prepared(queries[start:stop], normalise, device)
        for first, last in chunk_bounds(ArrayRows(references), chunk_bytes):
            book = Codebook.of(_prepared(references[first:last], normalise, device))
            if normalise and not bool(book.centroids.any(dim=1).all()):
                raise ValueError("a reference is all zeros, which has no direction: leave it out")
            columns, found = _nearest_in_chunk(block, book)
            # Chunks come in order, so an equally near reference of a later one never has the lower index.
            wins = found < squared[start:stop]
            index[start:stop][wins] = columns[wins] + first
            squared[start:stop][wins] = found[wins]
    return index, squared


def _nearest_in_chunk(block: torch.Tensor, book: Codebook) -> tuple[np.ndarray, np.ndarray]:
    columns = torch.empty(len(block), dtype=torch.int64)
    squared = torch.empty(len(block), dtype=torch.float64)
    search = nearest_centroids(book, len(block))
    step = search.tile_rows()
    for start in range(0, len(block), step):
        tile = block[start : start + step]
        column = search.best(SearchedRows.of(tile)).column
        columns[start : start + step] = column.cpu()
        squared[start : start + step] = squared_distances(tile, None, book.centroids, column).cpu()
    return columns.numpy(), squared.numpy()


def _prepared(rows: np.ndarray, normalise: bool, device: str) -> torch.Tensor:
    block = np.array(rows, dtype=np.float32)
    if normalise:
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        block /= np.where(lengths > 0, lengths, 1.0)
    return as_tensor(block, device)
