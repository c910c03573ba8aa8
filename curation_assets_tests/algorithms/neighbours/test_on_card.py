"""On a CUDA card similar rows are the same as on the CPU, through torch and, where it works there, through faiss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curation_assets.algorithms.atlas.neighbours import nearest_neighbours
from curation_assets.algorithms.duplicates.coarse_clusters import visit_clusters
from curation_assets.algorithms.duplicates.deduplication import State, remove_near_duplicates
from curation_assets.algorithms.neighbours.choose import flat_search
from curation_assets.algorithms.neighbours.exact import most_similar, pairs_within
from curation_assets.algorithms.neighbours.torch_search import TorchSearch
from curation_assets.algorithms.rows import ArrayRows
from curation_assets_tests.algorithms.neighbours.searches import rows_with_ties

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dimension", [7, 384, 1000])
def test_answers_are_those_of_the_cpu(dimension: int) -> None:
    rows = rows_with_ties(0, 3000, dimension)
    card = rows.cuda()
    for search in (flat_search(card.device, 3000**2), TorchSearch()):
        for k in (1, 5, 40):
            here, there = most_similar(rows, rows, k), most_similar(card, card, k, search=search)
            assert [part.tolist() for part in here] == [part.cpu().tolist() for part in there]
        for threshold in (0.5, 0.9, 1.0):
            found = [
                sorted(torch.stack(pairs, dim=1).cpu().tolist())
                for pairs in (
                    pairs_within(rows, rows, threshold),
                    pairs_within(card, card, threshold, search=search),
                )
            ]
            assert found[0] == found[1]


def test_visits_removals_and_neighbours_are_those_of_the_cpu() -> None:
    rows = rows_with_ties(1, 5000, 96).numpy()
    visits = [visit_clusters(rows, rows[::100], threshold=0.9, device=device) for device in ("cpu", "cuda")]
    for name in ("clusters", "similarities"):
        np.testing.assert_array_equal(getattr(visits[0], name), getattr(visits[1], name))
    results = []
    for device in ("cpu", "cuda"):
        states = np.full(len(rows), State.OPEN, dtype=np.int8)
        removals = remove_near_duplicates(
            ArrayRows(rows),
            visits[0].clusters,
            states,
            np.arange(len(rows)),
            threshold=0.95,
            device=lambda d=device: d,
        )
        results.append((states.tolist(), removals.twins.tolist(), removals.similarities.tolist()))
    assert results[0] == results[1]
    for metric in ("cosine", "l2"):
        here, there = (
            nearest_neighbours(rows, 10, metric=metric, device=device) for device in ("cpu", "cuda")
        )
        np.testing.assert_array_equal(here[0], there[0])
        np.testing.assert_array_equal(here[1], there[1])
