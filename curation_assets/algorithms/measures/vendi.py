"""The Vendi score (Friedman and Dieng 2023, arXiv:2210.02410): how many different samples a set is worth."""

from __future__ import annotations

import numpy as np

_BLOCK_ROWS = 2048


def vendi_score(rows: np.ndarray) -> float:
    """Exp of the entropy of the eigenvalues of X'X / m for rows of unit length, not centred.

    m copies of one row score 1, m rows at right angles score m. The kernel is the cosine.

    Args:
        rows: float (m, d) of any lengths. Rows of zeros have no direction and do not count.

    Returns:
        From 1 to min(m, d); 0 without rows. Products and eigenvalues are float64, so that the first 6 digits are the
        same on any machine. Work: the smaller of X'X and XX', whose non-zero eigenvalues agree. Memory: 8 bytes for
        each of its values, twice, and 8 for those of 2,048 rows, or of all where they are fewer than dimensions.
    """
    rows = np.asarray(rows)
    rows = rows[rows.any(axis=1)]
    m, d = rows.shape
    if not m:
        return 0.0
    if m <= d:
        unit = _unit(rows)
        gram = unit @ unit.T
    else:
        gram = np.zeros((d, d))
        for start in range(0, m, _BLOCK_ROWS):
            unit = _unit(rows[start : start + _BLOCK_ROWS])
            gram += unit.T @ unit
    shares = np.linalg.eigvalsh(gram) / m
    # Zero eigenvalues come out as tiny numbers of either sign.
    shares = shares[shares > np.finfo(np.float64).eps]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _unit(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    wide /= np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    return wide
