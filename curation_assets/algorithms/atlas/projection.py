"""Two dimensions for the eye: t-SNE of prepared rows."""

from __future__ import annotations

import numpy as np

# Distances in 50 principal components order neighbours as all dimensions do, and cost a tenth.
_COMPONENTS = 50
_PERPLEXITY = 30.0
_ITERATIONS = 500
# Below this t-SNE has no neighbourhoods to preserve.
_FEWEST_ROWS = 8


def project(rows: np.ndarray, *, seed: int) -> np.ndarray:
    """Lay rows out in the plane so that near rows stay near; the same rows give the same picture.

    t-SNE (van der Maaten and Hinton 2008, by Barnes and Hut's approximation) of principal components, started
    from the first two. It runs on one thread: sums of several threads differ in their last bits, and small differences
    grow. Measured at 384 dimensions: 13 s of CPU time for 5,000 rows, 29 s for 10,000.

    Args:
        rows: finite float array (n, d).
        seed: of the random choices.

    Returns:
        float32 (n, 2). Peak memory is about 2 kB a row beside the rows themselves.
    """
    from threadpoolctl import threadpool_limits

    rows = np.asarray(rows, dtype=np.float32)
    with threadpool_limits(limits=1):
        return _project(rows, seed)


def _project(rows: np.ndarray, seed: int) -> np.ndarray:
    reduced = _principal_components(rows)
    # Rows that are all the same do not spread: t-SNE would divide by zero.
    spread = float(reduced.std(axis=0).max()) if reduced.size else 0.0
    if len(rows) < _FEWEST_ROWS or spread <= 1e-6 * max(1.0, float(np.abs(rows).max())):
        flat = np.zeros((len(rows), 2), dtype=np.float32)
        flat[:, : min(2, reduced.shape[1])] = reduced[:, :2]
        return flat
    from sklearn.manifold import TSNE

    if reduced.shape[1] == 1:
        reduced = np.hstack([reduced, np.zeros_like(reduced)])
    start = reduced[:, :2] / reduced[:, 0].std() * 1e-4
    projected = TSNE(
        n_components=2,
        init=start,
        perplexity=min(_PERPLEXITY, (len(rows) - 1) / 3),
        learning_rate="auto",
        max_iter=_ITERATIONS,
        # scikit-learn takes 32 bits.
        random_state=seed % 2**32,
        n_jobs=1,
    ).fit_transform(reduced)
    return np.asarray(projected, dtype=np.float32)


def _principal_components(rows: np.ndarray) -> np.ndarray:
    """The rows in at most 50 principal components, float32 (n, c)."""
    if not len(rows):
        return np.zeros((0, 1), dtype=np.float32)
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    leading = directions[:, ::-1][:, :_COMPONENTS]
    # The sign of a direction is arbitrary: its largest entry is made positive.
    largest = np.abs(leading).argmax(axis=0)
    leading = leading * np.where(leading[largest, np.arange(leading.shape[1])] < 0, -1.0, 1.0)
    return (centred @ leading).astype(np.float32)
