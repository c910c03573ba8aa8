"""Probes: how well the labels of held-out samples are told from a subset, label by label.

All of them give every label the same weight, whatever its share of the pool.
"""

from __future__ import annotations

import numpy as np

from curation_assets.algorithms.measures.labels import label_counts
from curation_assets.algorithms.randomness import Purpose, keyed_priorities
from curation_assets.algorithms.search.assigner import assign

DECIMALS = 6
"""Of accuracies: further ones may differ between machines."""
_RIDGE = 0.3
"""Penalty of the linear probe, for rows whose root mean square length is 1."""


def class_balanced_held_out(
    codes: np.ndarray, *, n_per_label: int, seed: int, max_share: float = 0.5, keys: np.ndarray | None = None
) -> np.ndarray:
    """Rows to test probes on: the same number of each label, drawn at random.

    Args:
        codes: int (n,): label of each row, from 0; negative for a row without one, which is never held out.
        n_per_label: rows of each label.
        seed: decides which.
        max_share: no more than this share of a label's rows is held out, 0 to 1, so that something is left to learn
            from: a label of few rows gives fewer, or none.
        keys: int (n,): what stands for each row, such as a hash of its id, so that the order of rows does not
            matter; None takes row numbers.

    Returns:
        int64: row numbers, ascending.

    Raises:
        ValueError: if n_per_label is below 1 or max_share is not from 0 to 1.
    """
    if n_per_label < 1:
        raise ValueError(f"n_per_label is {n_per_label}, but must be at least 1")
    if not 0 <= max_share <= 1:
        raise ValueError(f"max_share is {max_share}, but must be from 0 to 1")
    labelled = np.flatnonzero(np.asarray(codes) >= 0)
    mine = np.asarray(codes)[labelled]
    sizes = np.bincount(mine)
    quotas = np.minimum(n_per_label, np.floor(max_share * sizes)).astype(np.int64)
    priorities = keyed_priorities(labelled if keys is None else keys[labelled], seed, Purpose.HELD_OUT)
    order = np.lexsort((priorities, mine))
    ranks = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(labelled[order[ranks < quotas[mine[order]]]])


def nearest_neighbour_probe(
    train: np.ndarray,
    train_codes: np.ndarray,
    test: np.ndarray,
    test_codes: np.ndarray,
    *,
    n_labels: int | None = None,
    device: str = "cpu",
) -> np.ndarray:
    """Share of the test rows of each label whose nearest training row has that label.

    The search is exact; of equally near training rows the first one counts.

    Args:
        train: float32 (m, d), prepared rows (of unit length for cosine).
        train_codes: int (m,): their labels, from 0; rows with a negative one are left out.
        test: float32 (q, d), prepared likewise.
        test_codes: int (q,), likewise.
        n_labels: labels of the pool; None takes one more than the highest code.
        device: torch device.

    Returns:
        float64 (n_labels,), 0 to 1 to 6 decimals; NaN for a label without test rows. Without training rows every
        test row is told wrongly.
    """
    split = _Split(train, train_codes, test, test_codes, n_labels)
    if not split.is_trivial:
        nearest, _ = assign(split.test, split.train, metric="l2", device=device)
        split.told = split.train_codes[nearest]
    return split.accuracy()


def linear_probe(
    train: np.ndarray,
    train_codes: np.ndarray,
    test: np.ndarray,
    test_codes: np.ndarray,
    *,
    n_labels: int | None = None,
) -> np.ndarray:
    """Share of the test rows of each label that a ridge classifier tells rightly.

    scikit-learn's RidgeClassifier with a penalty of 0.3, for rows divided by the root mean square length of the
    training rows. It has a closed solution: no seed, no iterations. Labels weigh the same however many rows they have:
    without that the probe tells frequent labels nearly always, and a balanced subset wins for its mix alone.

    Args:
        train: float (m, d).
        train_codes: int (m,), see `nearest_neighbour_probe`.
        test: float (q, d).
        test_codes: int (q,).
        n_labels: see `nearest_neighbour_probe`.

    Returns:
        As `nearest_neighbour_probe`. Memory: 8 bytes for each value of both sides and for the smaller of m and d
        squared.
    """
    split = _Split(train, train_codes, test, test_codes, n_labels)
    if not split.is_trivial and len(np.unique(split.train_codes)) == 1:
        split.told = np.full(len(split.test), split.train_codes[0])
    elif not split.is_trivial:
        from sklearn.linear_model import RidgeClassifier
        from threadpoolctl import threadpool_limits

        rows = split.train.astype(np.float64)
        scale = np.sqrt(np.einsum("ij,ij->", rows, rows) / len(rows)) or 1.0
        model = RidgeClassifier(alpha=_RIDGE, class_weight="balanced", solver="cholesky")
        # Problems are small: on many threads they take four times as long, where cores are busy more (measured).
        with threadpool_limits(limits=1, user_api="blas"):
            model.fit(rows / scale, split.train_codes)
            split.told = model.predict(split.test.astype(np.float64) / scale)
    return split.accuracy()


def balanced_accuracy(by_label: np.ndarray) -> float:
    """Mean over the labels that were tested, from what a probe returns; 0 if none was."""
    tested = by_label[~np.isnan(by_label)]
    return round(float(tested.mean()), DECIMALS) if len(tested) else 0.0


class _Split:
    """Labelled training and test rows, and what a probe tells of the latter."""

    def __init__(
        self,
        train: np.ndarray,
        train_codes: np.ndarray,
        test: np.ndarray,
        test_codes: np.ndarray,
        n_labels: int | None,
    ) -> None:
        for name, rows, codes in (("train", train, train_codes), ("test", test, test_codes)):
            if len(rows) != len(codes):
                raise ValueError(
                    f"{name} has {len(rows)} rows, but {len(codes)} codes: give one code for each row"
                )
        self.train, self.train_codes = _labelled(train, train_codes)
        self.test, self.test_codes = _labelled(test, test_codes)
        every = (self.train_codes, self.test_codes)
        self.n_labels = max(int(c.max(initial=-1)) + 1 for c in every) if n_labels is None else n_labels
        self.told = np.full(len(self.test), -1)

    @property
    def is_trivial(self) -> bool:
        """Whether there is nothing to learn from, or nothing to tell."""
        return not len(self.train) or not len(self.test)

    def accuracy(self) -> np.ndarray:
        """Share of the test rows of each label that is told rightly, float64 (n_labels,); NaN without test rows."""
        n_test = label_counts(self.test_codes, self.n_labels)
        right = label_counts(self.test_codes[self.told == self.test_codes], self.n_labels)
        share = np.full(self.n_labels, np.nan)
        np.divide(right, n_test, out=share, where=n_test > 0)
        return share.round(DECIMALS)


def _labelled(rows: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, codes = np.asarray(rows), np.asarray(codes)
    return (rows, codes) if (codes >= 0).all() else (rows[codes >= 0], codes[codes >= 0])
