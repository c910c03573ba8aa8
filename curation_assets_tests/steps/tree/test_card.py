"""A card without memory: one line with a remedy, and no finished work lost."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curation_assets.algorithms.kmeans.lloyd import Lloyd
from curation_assets.algorithms.kmeans.tiles import FitMemory, TiledRows
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search import choose
from curation_assets.algorithms.search.cuda import memory
from curation_assets.algorithms.search.cuda.memory import DeviceMemory
from curation_assets.errors import DeviceMemoryError
from curation_assets.steps.tree import card
from curation_assets.steps.tree.card import named_card, note_card
from curation_assets.steps.tree.fit import LevelFit
from curation_assets_tests.algorithms.search.cuda.kernels_here import (
    device_of_kernels,
    use_kernels,
    use_small_searches,
)
from curation_assets_tests.steps.drawn_pool import RECIPE
from curation_assets_tests.steps.other_pools import EmbeddedPool, make_embedded_pool

GB = 10**9


@pytest.fixture
def pool(tmp_path: Path) -> EmbeddedPool:
    pool = make_embedded_pool(tmp_path)
    levels = [{"n_clusters": 40, "tolerance": 0.0}, {"n_clusters": 5}]
    pool.spec = type(pool.spec).model_validate(pool.spec.model_dump() | {"levels": levels})
    return pool


@pytest.fixture
def fake_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card of 80 GB, of which 30 are free and torch keeps 2."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (30 * GB, 80 * GB))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 5 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 3 * GB)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 7 * GB)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)


def initial(pool: EmbeddedPool) -> tuple[dict[str, Any], list[int]]:
    """Fit level 1; the summary, and the iterations that were computed."""
    numbers: list[int] = []
    fit = LevelFit(
        pool.spec,
        pool.storage,
        1,
        on_progress=lambda progress: numbers.append(progress.iteration.number),
        seconds_between=0.0,
    )
    output = pool.storage.output("level_1_initial")
    with output.writing(RECIPE) as writer:
        fit.initial(writer)
    return output.require_facts().summary, numbers


def test_a_fit_goes_on_where_the_card_ran_out_of_memory(
    pool: EmbeddedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    step = Lloyd.step

    def fail_once(self: Lloyd, centroids: torch.Tensor) -> Any:
        steps.append(centroids)
        if len(steps) == 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return step(self, centroids)

    monkeypatch.setattr(Lloyd, "step", fail_once)
    with pytest.raises(
        DeviceMemoryError, match=r"smaller device_memory.*fit_device.*the same command goes on"
    ):
        initial(pool)
    summary, numbers = initial(pool)
    assert numbers[0] == 3, "two iterations are kept"
    assert "card" not in summary, "it was fitted without one"


@pytest.mark.parametrize("keeps_rows", [True, False])
def test_a_pool_is_fitted_by_the_kernels_to_the_same_bytes(
    keeps_rows: bool, pool: EmbeddedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = [{"n_clusters": 7, "max_iterations": 2}, {"n_clusters": 3}]
    pool.spec = type(pool.spec).model_validate(
        pool.spec.model_dump() | {"levels": levels, "preprocessing": {"centring": True}, "fit_rows": 150}
    )
    initial(pool)
    expected = pool.storage.output("level_1_initial").require_facts().digest
    device_of_kernels()
    use_small_searches(monkeypatch)
    use_kernels(monkeypatch)
    monkeypatch.setattr(choose, "_pays_for_kernels", lambda *_: True)
    monkeypatch.setattr(FitMemory, "room", lambda *_: 10**6 if keeps_rows else 0)
    held = []
    make = TiledRows.__init__

    def note(self: TiledRows, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        held.append((self.stored is not None, self.is_resident))

    monkeypatch.setattr(TiledRows, "__init__", note)
    initial(pool)
    assert held == [(True, keeps_rows)], "embeddings are held as they are stored"
    assert pool.storage.output("level_1_initial").require_facts().digest == expected


@pytest.mark.usefixtures("fake_card")
def test_the_error_names_the_card_and_what_is_free() -> None:
    with pytest.raises(DeviceMemoryError) as raised, named_card("cuda:1", 20 * GB):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")
    assert str(raised.value).startswith(
        "cuda:1 (a card, 30.0 of 80.0 GB free) has no memory left (device_memory is 20 GB): end other processes on it"
    )
    with pytest.raises(DeviceMemoryError, match="device_memory is auto"), named_card("cuda", "auto"):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(ValueError, match="other"), named_card("cuda", "auto"):
        raise ValueError("other")


@pytest.mark.usefixtures("fake_card")
@pytest.mark.parametrize(("keeps_rows", "rows"), [(True, "resident"), (False, "streamed")])
def test_the_peak_is_noted(keeps_rows: bool, rows: str) -> None:
    class Writer:
        summary: dict[str, Any] = {}  # noqa: RUF012

    note_card(Writer(), "cpu", keeps_rows)  # type: ignore[arg-type]
    note_card(Writer(), "cuda", None)  # type: ignore[arg-type]
    assert Writer.summary == {}
    note_card(Writer(), "cuda", keeps_rows)  # type: ignore[arg-type]
    assert Writer.summary == {"card": {"name": "a card", "peak_bytes": 7 * GB, "rows": rows}}
    assert not card._is_card("cpu")


@pytest.mark.usefixtures("fake_card")
def test_room_on_a_card_does_not_depend_on_the_memory_of_the_host() -> None:
    assert memory.free_bytes("cuda") == 32 * GB
    fit = FitMemory(resident_bytes=1, device=DeviceMemory(20 * GB, fixed_bytes=3 * GB))
    assert fit.room("cuda:1") == 17 * GB
    assert fit.room("cpu") == 1
    assert FitMemory(device=DeviceMemory(None, 2 * GB)).room("cuda") == int(0.8 * 32 * GB) - 2 * GB
    assert FitMemory(device=DeviceMemory(GB, 2 * GB)).room("cuda") == 0


def test_rows_are_streamed_if_there_is_less_room_than_it_seemed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ArrayRows(np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32))

    def full(_: TiledRows) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TiledRows, "_read_all", full)
    with caplog.at_level(logging.WARNING):
        tiled = TiledRows(rows, "cpu", chunk_bytes=20 * 30)
    assert not tiled.is_resident
    assert [len(block) for _, block in tiled.tiles(30)] == [30, 30, 30, 10]
    assert "no room for all rows" in caplog.text
