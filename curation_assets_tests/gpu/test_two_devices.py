"""Fits that run at the same time on two cards, and workers on Ray that share cards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from curation_assets.algorithms.kmeans.fit import KMeansFit, fit_kmeans
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets_tests.gpu.vector_pools import digests, fitted_again, make_vector_project, rows_of
from curation_assets_tests.projects import curate

pytestmark = pytest.mark.gpu


def needs_cards(n: int) -> None:
    if torch.cuda.device_count() < n:
        pytest.skip(f"needs {n} cards, there are {torch.cuda.device_count()}")


def fit(device: str) -> KMeansFit:
    rows = ArrayRows(np.tile(rows_of("clustered"), (20, 1)))
    prepared = PreparedRows(rows, fit_preprocessing(rows, metric="cosine", centring=False))
    return fit_kmeans(
        prepared, 300, metric="cosine", rng=np.random.default_rng(0), device=device, n_local_trials=1
    )


def test_two_fits_at_once_on_two_cards_have_the_same_bytes() -> None:
    needs_cards(2)
    expected = fit("cpu")
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(fit, ["cuda:0", "cuda:1"] * 2))
    for other in found:
        assert other.centroids.tobytes() == expected.centroids.tobytes()
        assert np.array_equal(other.assignments, expected.assignments)


@pytest.mark.parametrize("n_cards", [1, 2])
def test_workers_on_ray_that_share_cards_have_the_bytes_of_one_process(
    n_cards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_cards(n_cards)
    pytest.importorskip("ray")
    project = make_vector_project(tmp_path / "cpu", "uneven")
    curate(project)
    engine = {"kind": "ray", "workers": 2, "gpus_per_worker": n_cards / 2, "least_work": 1}
    project.write_pool({**project.settings(), "engine": engine})
    spread = fitted_again(project, tmp_path / "spread", "cuda", monkeypatch)
    assert digests(spread) == digests(project)
    assert spread.storage.output("level_1_clusters").require_facts().summary["engine"]["kind"] == "ray"
