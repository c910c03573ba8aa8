"""Stored rows on their way to a card."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from curation_assets.algorithms.kmeans import uploads
from curation_assets.algorithms.kmeans.uploads import Uploads
from curation_assets.algorithms.preprocessing import PreparedRows, Preprocessing, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows, Stored

CPU = torch.device("cpu")


class NotedRows(ArrayRows):
    """Notes what is read."""

    def __init__(self, array: np.ndarray, note: Callable[..., None]) -> None:
        super().__init__(array)
        self._note = note

    def read_half(self, start: int, stop: int) -> np.ndarray:
        """See `StoredHalves`."""
        self._note("read", start, stop)
        return super().read_half(start, stop)


def array(n_rows: int = 50) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n_rows, 5)).astype(np.float16)


def stored(rows: ArrayRows, metric: str = "cosine", centring: bool = True) -> Stored:
    found = PreparedRows(rows, fit_preprocessing(rows, metric=metric, centring=centring)).stored()  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize("tile_rows", [1, 7, 50, 80])
def test_every_row_comes_once_with_its_length(tile_rows: int) -> None:
    x = array()
    found = stored(ArrayRows(x))
    sent = Uploads(found, CPU, 3)
    assert found.lengths is not None
    for _ in range(2):
        at = 0
        for start, block in sent.tiles(tile_rows):
            assert start == at
            assert len(block) == min(tile_rows, len(x) - start)
            here = x[start : start + len(block)]
            np.testing.assert_array_equal(block.values[:, :5].numpy(), here)
            assert not block.values[:, 5:].any()
            np.testing.assert_array_equal(block.lengths.numpy(), found.lengths(here))  # type: ignore[union-attr]
            at += len(block)
        assert at == len(x)


def test_lengths_are_measured_in_the_first_whole_pass_only() -> None:
    measured = []
    rows = ArrayRows(array())
    found = stored(rows)

    def lengths(block: np.ndarray) -> np.ndarray:
        measured.append(len(block))
        assert found.lengths is not None
        return found.lengths(block)

    sent = Uploads(Stored(rows, found.mean, lengths, found.grid_step), CPU, 50)
    next(iter(sent.tiles(25)))
    before = sum(measured)
    for _ in range(3):
        list(sent.tiles(25))
    assert sum(measured) == before + 50


def test_all_rows_are_kept_in_one_block() -> None:
    x = array()
    block = Uploads(stored(ArrayRows(x)), CPU, 4).all()
    np.testing.assert_array_equal(block.values[:, :5].numpy(), x)
    assert len(Uploads(Stored(ArrayRows(x[:0]), None, None, 1.0), CPU, 4).all()) == 0


def test_l2_has_no_lengths() -> None:
    block = Uploads(stored(ArrayRows(array()), "l2", False), CPU, 4).all()
    assert block.lengths is None
    assert block.preparation.mean is None


def test_lengths_are_those_that_rows_are_divided_by() -> None:
    x = array()
    x[3] = 0
    how: Preprocessing = fit_preprocessing(ArrayRows(x), metric="cosine", centring=False)
    expected = how.apply(x)
    divided = (x.astype(np.float64) / how.lengths(x)[:, None]).astype(np.float32)
    np.testing.assert_array_equal(np.rint(divided / how.grid_step) * how.grid_step, expected)


class FakeStream:
    """Notes what it is told, in the order of the host."""

    def __init__(self, name: str, note: Callable[..., None]) -> None:
        self.name, self._note, self._n_events = name, note, 0

    def record_event(self) -> FakeEvent:
        self._n_events += 1
        event = FakeEvent((self.name, self._n_events), self._note)
        self._note("record", event.name)
        return event

    def wait_event(self, event: FakeEvent) -> None:
        self._note("wait", self.name, event.name)


class FakeEvent:
    def __init__(self, name: tuple[str, int], note: Callable[..., None]) -> None:
        self.name, self._note = name, note

    def synchronize(self) -> None:
        self._note("synchronize", self.name)


def test_copies_wait_for_the_work_before_and_work_for_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[tuple[Any, ...]] = []

    def note(*what: Any) -> None:
        log.append(what)

    work = FakeStream("work", note)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: work)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: None)
    staging = uploads._Staging
    monkeypatch.setattr(uploads, "_Staging", lambda *sizes, is_pinned: staging(*sizes, is_pinned=False))
    sent = Uploads(stored(NotedRows(array(), note), centring=False), CPU, 5)
    sent._is_card, sent._stream = True, FakeStream("copies", note)  # type: ignore[assignment]
    starts = []
    for start, _ in sent.tiles(10):
        starts.append(start)
        note("work", start)
    assert starts == [0, 10, 20, 30, 40]

    def recorded(event: tuple[str, int]) -> int:
        return log.index(("record", event))

    for start in starts:
        # The host reads the first piece of a tile after it has told the copies to wait for what the slot held before.
        told = max(
            i for i in range(log.index(("read", start, start + 5))) if log[i][:2] == ("wait", "copies")
        )
        if start >= 20:
            assert recorded(log[told][2]) > log.index(("work", start - 20))
        # The work on a tile waits for an event behind its last piece.
        waits = [entry for entry in log[: log.index(("work", start))] if entry[:2] == ("wait", "work")]
        assert recorded(waits[-1][2]) > log.index(("read", start + 5, start + 10))
    # A piece is read into memory that has been copied: from the third on the reader waits for the last but one.
    assert sum(entry[0] == "synchronize" for entry in log) == 8
