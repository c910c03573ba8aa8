"""A card that PyTorch cannot use is named once, with the remedy; all else goes on with the CPU."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch

from curation_assets.devices import cuda as asked
from curation_assets.devices.driver import Driver

OLD = Driver(2, (12, 2))
TOO_OLD = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 12020).\nPlease update"
)


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    for remembered in (asked._asked, asked._report):
        remembered.cache_clear()
    yield
    for remembered in (asked._asked, asked._report):
        remembered.cache_clear()


def machine(
    monkeypatch: pytest.MonkeyPatch,
    *,
    driver: Driver | None = None,
    built_for: str | None = "13.0",
    first: Callable[[], torch.Tensor] | None = None,
    warns: str = "",
) -> None:
    """A machine whose card PyTorch sees if `first`, which stands for its first allocation, is given."""
    ones = torch.ones

    def is_available() -> bool:
        if warns:
            warnings.warn(warns, stacklevel=1)
        return first is not None

    def allocate(*shape: int, device: str) -> torch.Tensor:
        assert device.startswith("cuda:")
        assert first is not None
        return first() * ones(*shape)

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch, "ones", allocate)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA L4")
    monkeypatch.setattr(asked, "ask_driver", lambda: driver)


def fails(error: Exception) -> Callable[[], torch.Tensor]:
    def first() -> torch.Tensor:
        raise error

    return first


def test_a_card_that_computes_is_taken_without_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(monkeypatch, first=lambda: torch.tensor(1.0))
    assert asked.best_device() == "cuda"
    assert asked.cuda(1).works
    assert asked.described("cuda:1", "auto") == "cuda:1: NVIDIA L4"
    assert not caplog.records


def test_without_a_card_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(monkeypatch)
    assert asked.best_device() == "cpu"
    assert asked.described("cpu", "auto") == "cpu"
    assert not caplog.records


BROKEN = {
    "a build for the CPU": (
        {"driver": OLD, "built_for": None},
        r"2 NVIDIA cards, but PyTorch .* is a build without CUDA: install its build for CUDA 12 ",
    ),
    "an old driver": (
        {"driver": OLD, "built_for": "13.0", "warns": TOO_OLD},
        r"needs CUDA 13\.0, and the driver runs at most CUDA 12\.2: update the driver, or install .* CUDA 12 ",
    ),
    "cards that it does not see": (
        {"driver": OLD, "built_for": "12.8", "warns": "CUDA unknown error\nmore"},
        r"does not see them \(CUDA unknown error\): install PyTorch's build for CUDA 12 anew",
    ),
    "a driver that fails": ({"driver": Driver(fault="the driver does not answer")}, r"^the driver does not"),
    "no code for the card": (
        {"first": fails(RuntimeError("CUDA error: no kernel image is available\nCUDA kernel errors might"))},
        r"\(CUDA 13\.0\) fails on NVIDIA L4 \(CUDA error: no kernel image is available\): install the PyTorch build",
    ),
    "a library that is missing": ({"first": fails(OSError())}, r"fails on NVIDIA L4 \(OSError\): install"),
    "a full card": (
        {"first": fails(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB."))},
        r"\(CUDA out of memory\. Tried to allocate 2 MiB\): free memory of the card",
    ),
    "wrong products": ({"first": lambda: torch.tensor(2.0)}, r"\(a product is wrong\)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_card_that_cannot_be_used_is_named_once_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings, fault = BROKEN[name]
    machine(monkeypatch, **settings)  # type: ignore[arg-type]
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        assert asked.best_device() == asked.best_device() == "cpu"
    (line,) = [record.getMessage() for record in caplog.records]
    assert "\n" not in line
    with pytest.raises(AssertionError, match=fault):
        raise AssertionError(line.removeprefix("the CPU is used: "))
    assert asked.described("cpu", "auto") == line.replace("the CPU is used", "cpu")
    assert asked.described("cpu", "cpu") == "cpu"
