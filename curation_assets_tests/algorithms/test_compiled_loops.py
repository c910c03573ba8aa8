"""Compiled loops that the search for seeds uses; `test_pair_kernels` goes through the others."""

from __future__ import annotations

import numpy as np

from curation_assets.algorithms.compiled_loops import accept_until_unsure


def test_proposals_are_taken_until_one_is_too_close_to_call() -> None:
    scores = np.array([[0.0, 0.9, 0.0, 0.5], [0.9, 0, 0, 0], [0, 0, 0, 0], [0.5, 0, 0, 0]], dtype=np.float32)
    highest = np.full(4, -np.inf, dtype=np.float32)
    keeps = np.zeros(4, dtype=bool)
    # The second is near the first and falls, the third may not stay, the fourth lies on its limit.
    limits, bounds, may_keep = (
        np.full(4, 0.5),
        np.full(4, 0.01, dtype=np.float32),
        np.array([1, 1, 0, 1], dtype=bool),
    )
    assert accept_until_unsure(scores, highest, limits, bounds, may_keep, keeps, 0) == 3
    assert keeps.tolist() == [True, False, False, False]
    assert accept_until_unsure(scores, highest, limits, bounds, may_keep, keeps, 4) == 4
