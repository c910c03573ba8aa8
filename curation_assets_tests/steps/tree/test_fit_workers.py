"""How many workers share a fit."""

from __future__ import annotations

import pytest

from curation_assets.engines import LocalEngine
from curation_assets.steps.tree.fit_workers import n_fit_workers


class FourWorkers(LocalEngine):
    """An engine of other processes, as far as this question goes."""

    is_local = False
    n_workers = 4


@pytest.mark.parametrize(
    ("n_rows", "work", "expected"),
    [(100_000, 10**9, 0), (100_000, 10**10, 4), (3000, 10**10, 3), (10, 10**10, 1)],
)
def test_large_fits_are_shared_out_among_whole_blocks(n_rows: int, work: int, expected: int) -> None:
    assert n_fit_workers(FourWorkers(), n_rows, work, 5e9) == expected


def test_the_local_engine_keeps_every_fit() -> None:
    assert n_fit_workers(LocalEngine(), 10**6, 10**12, 1.0) == 0
