"""Where the kernels run, and what is said where they do not."""

from __future__ import annotations

import logging

import pytest
import torch

from curation_assets.algorithms.search.cuda import row_launches
from curation_assets.algorithms.search.cuda.presence import runs_kernels

ask = runs_kernels.__wrapped__  # without what it remembers
CARD = torch.device("cuda", 0)


@pytest.fixture
def ampere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that says that it has a card."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.setattr(torch.version, "hip", None)


def test_no_kernels_without_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not ask(CARD)
    assert not ask(torch.device("cpu"))


@pytest.mark.usefixtures("ampere")
def test_older_and_other_cards_are_left_to_the_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert not ask(CARD)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert not ask(CARD)


@pytest.mark.usefixtures("ampere")
def test_a_triton_that_fails_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no C compiler")

    ones, zeros = torch.ones, torch.zeros
    monkeypatch.setattr(torch, "ones", lambda *shape, device: ones(*shape))
    monkeypatch.setattr(torch, "zeros", lambda *shape, dtype, device: zeros(*shape, dtype=dtype))
    monkeypatch.setattr(row_launches, "pair_squares", fail)
    with caplog.at_level(logging.WARNING):
        assert not ask(CARD)
    assert "without Triton kernels" in caplog.text
    pytest.importorskip("triton.tools.tensor_descriptor")
    assert "no C compiler" in caplog.text
