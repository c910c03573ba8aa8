"""How often the host waits for the card, counted without one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from curation_assets.algorithms.kmeans.lloyd import Lloyd
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.search import choose
from curation_assets_tests.algorithms.search.cuda.counted_waits import counted
from curation_assets_tests.algorithms.search.cuda.kernels_here import (
    device_of_kernels,
    use_kernels,
    use_small_searches,
)
from curation_assets_tests.algorithms.search.cuda.stored_cases import prepared_rows


def waits_of_a_step(n_rows: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    rng = np.random.default_rng(0)
    stored = rng.normal(size=(n_rows, 6)).astype(np.float16)
    tiled = TiledRows(prepared_rows(stored, "cosine", False), "cpu")
    centroids = tiled.take(np.arange(8))
    lloyd = Lloyd(tiled, centroids)
    lloyd.all_rows()
    moved = centroids.clone()
    # Three move a little, so that some rows change cluster and others stay open.
    moved[:3] = torch.nn.functional.normalize(moved[:3] + 0.3 * moved[5:])
    with counted(monkeypatch) as waits:
        _, n_reassigned = lloyd.step(moved)
    assert n_reassigned
    return waits


def test_an_iteration_waits_a_few_times_however_many_rows_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    device_of_kernels()
    use_small_searches(monkeypatch)
    use_kernels(monkeypatch)
    monkeypatch.setattr(choose, "_pays_for_kernels", lambda *_: True)
    few, many = (waits_of_a_step(n_rows, monkeypatch) for n_rows in (60, 240))
    assert few.total() <= many.total() <= 17, many
