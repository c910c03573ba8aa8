"""What the kernels must give, computed slowly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


def squared_distances(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Float64 (n, k), each summed in the order of the CPU's compiled loops: eight sums, then the rest."""
    n_dimensions = rows.shape[1]
    whole = n_dimensions // 8 * 8
    result = np.empty((len(rows), len(centroids)))
    for i, row in enumerate(rows.astype(np.float64)):
        squares = np.square(row - centroids.astype(np.float64))
        sums = np.zeros((8, len(centroids)))
        for j in range(0, whole, 8):
            sums += squares[:, j : j + 8].T
        total = ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
        for j in range(whole, n_dimensions):
            total = total + squares[:, j]
        result[i] = total
    return result


def nearest(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Int64 (n,): the nearest centroid, the lowest of equally near ones."""
    return squared_distances(rows, centroids).argmin(axis=1)


def scores(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Float64 (n, k): x.c - |c|^2 / 2."""
    wide = centroids.astype(np.float64)
    return rows.astype(np.float64) @ wide.T - 0.5 * np.square(wide).sum(axis=1)


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _clustered(
    rng: np.random.Generator, n: int, k: int, d: int, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    concepts = rng.normal(size=(max(2, k // 4), d))
    rows = _unit(concepts[rng.integers(len(concepts), size=n)] + noise * rng.normal(size=(n, d)))
    centroids = _unit(concepts[rng.integers(len(concepts), size=k)] + noise / 2 * rng.normal(size=(k, d)))
    return rows, centroids


def _uneven(rng: np.random.Generator, n: int, k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    spectrum = (1 + np.arange(d)) ** -0.7
    return _unit(rng.normal(size=(n, d)) * spectrum), _unit(rng.normal(size=(k, d)) * spectrum)


def _ties(rng: np.random.Generator, n: int, k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(-2, 3, size=(n, d)).astype(float), rng.integers(-1, 2, size=(k, d)).astype(float)


def _copies(rng: np.random.Generator, n: int, k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    few = _unit(rng.normal(size=(max(1, k // 3), d)))
    centroids = few[rng.integers(len(few), size=k)]
    return centroids[rng.integers(k, size=n)] + 0.01 * rng.normal(size=(n, d)), centroids


def _zeros(rng: np.random.Generator, n: int, k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rows, centroids = rng.normal(size=(n, d)), rng.normal(size=(k, d))
    rows[::2], centroids[::3] = 0, 0
    return rows, centroids


def _all_zero(rng: np.random.Generator, n: int, k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((n, d)), np.zeros((k, d))


def _huge(rng: np.random.Generator, n: int, k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    return 1e4 / np.sqrt(d) * rng.normal(size=(n, d)), 1e4 / np.sqrt(d) * rng.normal(size=(k, d))


def _tiny(rng: np.random.Generator, n: int, k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    return 1e-4 * rng.normal(size=(n, d)), 1e-4 * rng.normal(size=(k, d))


def _mixed_lengths(rng: np.random.Generator, n: int, k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    lengths = 10.0 ** rng.uniform(-3, 3, size=(n, 1)), 10.0 ** rng.uniform(-3, 3, size=(k, 1))
    return lengths[0] * _unit(rng.normal(size=(n, d))), lengths[1] * _unit(rng.normal(size=(k, d)))


def _far_off(rng: np.random.Generator, n: int, k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """A tight cluster far from the origin: lengths of centroids must not be rounded."""
    offset = 30 * _unit(rng.normal(size=(1, d)))
    return offset + 0.01 * rng.normal(size=(n, d)), offset + 0.01 * rng.normal(size=(k, d))


CASES: dict[str, Callable[[np.random.Generator, int, int, int], tuple[np.ndarray, np.ndarray]]] = {
    "clustered": lambda rng, n, k, d: _clustered(rng, n, k, d, 0.8),
    "tight": lambda rng, n, k, d: _clustered(rng, n, k, d, 0.1),
    "uneven": _uneven,
    "ties": _ties,
    "copies": _copies,
    "zeros": _zeros,
    "all zero": _all_zero,
    "huge": _huge,
    "tiny": _tiny,
    "mixed lengths": _mixed_lengths,
    "far off": _far_off,
}


def case(
    name: str, n: int, k: int, d: int, kind: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of a dtype (n, d) and centroids float32 (k, d) on a device."""
    rows, centroids = CASES[name](np.random.default_rng(n + k + d), n, k, d)
    return torch.from_numpy(rows).to(kind).to(device), torch.from_numpy(centroids).float().to(device)
