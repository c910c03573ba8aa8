"""The device of the kernels in this process, or the reason why there is none."""

from __future__ import annotations

import functools
import os
from importlib.metadata import version

import pytest
import torch

from curation_assets.algorithms.kmeans.grouped import choice
from curation_assets.algorithms.search import choose, groups, pairs
from curation_assets.algorithms.search.base import SearchedRows
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cuda import greedy_launches, grouped_launches, launches, row_launches
from curation_assets.algorithms.search.cuda.search import CudaCentroids
from curation_assets.algorithms.search.kind import Kind

SMALL_TILE = launches.Tile(16, 32, 4, 2)


def device_of_kernels() -> torch.device:
    """The CPU with Triton's interpreter, else the card; skips the test that asks where neither works."""
    reason = _reason_against_kernels()
    if reason:
        pytest.skip(reason)
    return torch.device("cpu") if _interprets() else torch.device("cuda", torch.cuda.current_device())


def use_small_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the interpreter run few programs of few scores: its time goes with both."""
    if _interprets():
        for name in ("_PAIRS", "_SCORED_PAIRS"):
            monkeypatch.setattr(row_launches, name, 256)
        monkeypatch.setattr(launches, "_REACH_PAIRS", 256)
        monkeypatch.setattr(grouped_launches, "TILE_ROWS", 16)
        monkeypatch.setattr(grouped_launches, "_MOST_COLUMNS", 32)
        monkeypatch.setattr(grouped_launches, "_DECIDED_ROWS", 64)
        monkeypatch.setattr(greedy_launches, "_FITS", 8)
        monkeypatch.setattr(launches, "tile_for", lambda *_: SMALL_TILE)


def use_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the implementation for CUDA serve the tensors of this process, on whatever device they are."""
    for module in (choice, choose, groups, pairs):
        monkeypatch.setattr(module, "kind_of", lambda _: Kind.CUDA)


def _interprets() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def _reason_against_kernels() -> str | None:
    pytest.importorskip("triton.tools.tensor_descriptor", reason="needs Triton 3.4 or later")
    if not _interprets():
        return None if torch.cuda.is_available() else "needs a CUDA card"
    try:
        CudaCentroids(Codebook.of(torch.ones(2, 3))).best(SearchedRows.of(torch.ones(1, 3)))
    except Exception as error:
        # Triton 3.6's interpreter needs a numpy before 2.4.
        if "0-dimensional" not in str(error):
            raise
        return f"the interpreter of Triton {version('triton')} fails with numpy {version('numpy')}"
    return None
