"""What the driver answers, from a library that stands in for NVIDIA's."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from curation_assets.devices import driver
from curation_assets.devices.driver import Driver, ask_driver


class Library:
    """Answers as libcuda does: a code each, and values by reference."""

    def __init__(self, *, init: int = 0, count: int = 0, n_cards: int = 1, version: int = 12020) -> None:
        self.init, self.count, self.n_cards, self.version = init, count, n_cards, version

    def cuInit(self, _flags: int) -> int:  # noqa: N802 - as the library has it
        return self.init

    def cuDeviceGetCount(self, into: Any) -> int:  # noqa: N802 - as the library has it
        into._obj.value = self.n_cards
        return self.count

    def cuDriverGetVersion(self, into: Any) -> int:  # noqa: N802 - as the library has it
        into._obj.value = self.version
        return 0

    def cuGetErrorName(self, code: int, into: Any) -> int:  # noqa: N802 - as the library has it
        into._obj.value = b"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" if code == 803 else None
        return 0


def install(monkeypatch: pytest.MonkeyPatch, library: Library | None) -> None:
    def load(_name: str) -> Library:
        if library is None:
            raise OSError("cannot open shared object file")
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)


@pytest.mark.parametrize(
    ("library", "expected"),
    [
        (Library(), Driver(1, (12, 2))),
        (Library(n_cards=8, version=13000), Driver(8, (13, 0))),
        (Library(n_cards=0), None),
        (Library(init=100), None),  # no card, or all of them hidden
    ],
)
def test_cards_and_the_newest_cuda(
    library: Library, expected: Driver | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, library)
    assert ask_driver() == expected


def test_cards_are_counted_in_words() -> None:
    assert (Driver(1).cards, Driver(2).cards) == ("1 NVIDIA card", "2 NVIDIA cards")


@pytest.mark.parametrize(
    ("library", "named"),
    [
        (Library(init=803), r"\(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH\)"),
        (Library(init=7777), r"\(error 7777\)"),
        (Library(count=803), r"\(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH\)"),
    ],
)
def test_a_driver_that_fails_is_named_with_a_remedy(
    library: Library, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, library)
    found = ask_driver()
    assert found is not None
    with pytest.raises(
        AssertionError, match=f"the NVIDIA driver does not answer {named}: see what nvidia-smi"
    ):
        raise AssertionError(found.fault)


def test_a_card_whose_library_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(driver, "_device_files", list)
    assert ask_driver() is None
    monkeypatch.setattr(driver, "_device_files", lambda: [Path("/dev/nvidia0")])
    found = ask_driver()
    assert found is not None
    assert "library" in found.fault
    assert "is missing: install the driver" in found.fault
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert ask_driver() is None
