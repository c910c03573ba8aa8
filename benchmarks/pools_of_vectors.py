"""Generated embeddings for benchmarks: unit rows around long-tailed concepts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def clustered_pool(
    n_rows: int = 20_000, dimension: int = 384, *, n_concepts: int = 300, noise: float = 0.8, seed: int = 0
) -> np.ndarray:
    """Concepts and noise spread evenly over all directions; float32 (n_rows, dimension)."""
    rng = np.random.default_rng(seed)
    concepts = rng.normal(size=(n_concepts, dimension))
    shares = 1 / np.arange(1, n_concepts + 1)
    chosen = rng.choice(n_concepts, n_rows, p=shares / shares.sum())
    return _unit(concepts[chosen] + noise * rng.normal(size=(n_rows, dimension)))


def tight_pool(n_rows: int, dimension: int) -> np.ndarray:
    """A thousand concepts with half the noise."""
    return clustered_pool(n_rows, dimension, n_concepts=1000, noise=0.4)


def uneven_pool(n_rows: int, dimension: int, *, n_concepts: int = 1000, seed: int = 0) -> np.ndarray:
    """Overlapping concepts in directions of falling variance, as encoders produce them."""
    rng = np.random.default_rng(seed)
    spectrum = (1 + np.arange(dimension)) ** -0.7
    turn, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    concepts = rng.normal(size=(n_concepts, dimension)) * spectrum
    shares = 1 / np.arange(1, n_concepts + 1) ** 0.8
    chosen = rng.choice(n_concepts, n_rows, p=shares / shares.sum())
    return _unit((concepts[chosen] + 0.7 * rng.normal(size=(n_rows, dimension)) * spectrum) @ turn)


def plane_pool(seed: int) -> np.ndarray:
    """The paper's 2-D study (section 4.1): three blobs of very different size over a thin uniform background."""
    rng = np.random.default_rng(seed)
    blobs = [
        rng.normal(centre, 0.5, (n, 2)) for centre, n in (((-1, -1), 7000), ((1, -1), 1000), ((0, 1), 500))
    ]
    return np.concatenate([*blobs, rng.uniform(-3, 3, (500, 2))]).astype(np.float32)


POOLS: dict[str, Callable[[int, int], np.ndarray]] = {
    "clustered": clustered_pool,
    "tight": tight_pool,
    "uneven": uneven_pool,
}


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
