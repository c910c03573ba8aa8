"""The Vendi score (Friedman and Dieng 2023, arXiv:2210.02410): how many different samples a set is worth."""

from __future__ import annotations

import numpy as np
import torch

from curation_assets.algorithms.threads import in_parts, parts_on_threads

_BLOCK_ROWS = 2048


def vendi_score(rows: np.ndarray, origin: np.ndarray | None = None) -> float:
    """Exp of the entropy of the eigenvalues of X'X / m for rows of unit length.

    m copies of one row score 1, m rows at right angles score m. The kernel is the cosine, seen from one origin for
    every set: the rows of a set are not centred on their own mean.

    Args:
        rows: float (m, d) of any lengths. Those that equal the origin have no direction and do not count.
        origin: (d,), subtracted from the rows; None takes zeros.

    Returns:
        From 1 to min(m, d); 0 without rows. Products and eigenvalues are float64, so that the first 6 digits are the
        same on any machine. Work: the smaller of X'X and XX', whose non-zero eigenvalues agree. Memory: 8 bytes for
        each of its values, some three times, and 8 for those of 2,048 rows a thread, or of all where they are fewer
        than dimensions.
    """
    rows = np.asarray(rows)
    centre = np.zeros(rows.shape[1]) if origin is None else origin.astype(np.float64)
    rows = rows[(rows != centre).any(axis=1)]
    m, d = rows.shape
    if not m:
        return 0.0

    def partial_covariance(start: int, stop: int) -> torch.Tensor:
        total = torch.zeros((d, d), dtype=torch.float64)
        for first in range(start, stop, _BLOCK_ROWS):
            unit = _unit(rows[first : min(first + _BLOCK_ROWS, stop)], centre)
            total.addmm_(unit.T, unit)
        return total

    # On many threads a small eigenvalue problem takes up to 50 times as long where cores are busy (measured).
    with parts_on_threads():
        if m <= d:
            unit = _unit(rows, centre)
            product = torch.cat(in_parts(lambda start, stop: unit[start:stop] @ unit.T, m, m * d))
        else:
            product = sum(in_parts(partial_covariance, m, d * d), torch.zeros((), dtype=torch.float64))
        shares = torch.linalg.eigvalsh(product / m).numpy()
    # Zero eigenvalues come out as tiny numbers of either sign.
    shares = shares[shares > np.finfo(np.float64).eps]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _unit(rows: np.ndarray, origin: np.ndarray) -> torch.Tensor:
    wide = rows - origin
    wide /= np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    return torch.from_numpy(wide)
