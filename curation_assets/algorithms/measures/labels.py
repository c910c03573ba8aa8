"""Measures of a subset by its labels."""

from __future__ import annotations

import numpy as np

from curation_assets.algorithms.balance import effective_number


def label_counts(codes: np.ndarray, n_labels: int) -> np.ndarray:
    """Samples of each label, int64 (n_labels,).

    Args:
        codes: int (m,): label of each sample, from 0; negative for a sample without one, which does not count.
        n_labels: labels of the pool.

    Raises:
        ValueError: if a code is n_labels or above.
    """
    codes = np.asarray(codes)
    if len(codes) and (highest := int(codes.max())) >= n_labels:
        raise ValueError(
            f"codes holds {highest}, but n_labels is {n_labels}: codes go from 0 to n_labels - 1"
        )
    return np.bincount(codes[codes >= 0], minlength=n_labels)


def effective_labels(codes: np.ndarray, n_labels: int) -> float:
    """Effective number of labels, exp of the Shannon entropy of their shares; arguments as in `label_counts`.

    Returns:
        From 1 to n_labels; 0 without labelled samples.
    """
    return effective_number(label_counts(codes, n_labels))


def label_coverage(codes: np.ndarray, n_labels: int) -> float:
    """Share of the pool's labels that have a sample, 0 to 1; arguments as in `label_counts`.

    Returns:
        0 for a pool without labels.
    """
    return float((label_counts(codes, n_labels) > 0).sum() / n_labels) if n_labels else 0.0


def uncovered_labels(pool: np.ndarray, subset: np.ndarray, *, least_share: float = 0.01) -> np.ndarray:
    """Labels of some weight in the pool of which the subset has no sample.

    Args:
        pool: int (k,): samples of each label in the pool.
        subset: int (k,): in the subset.
        least_share: of the pool's labelled samples that a label must have, 0 to 1.

    Returns:
        int64: codes, those with most samples in the pool first and then the lowest.
    """
    pool, subset = np.asarray(pool), np.asarray(subset)
    missing = np.flatnonzero((pool > 0) & (pool >= least_share * pool.sum()) & (subset == 0))
    return missing[np.argsort(-pool[missing], kind="stable")]
