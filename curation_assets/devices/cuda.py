"""Whether PyTorch can use this machine's cards: asked once in a process, by a first small computation."""

from __future__ import annotations

import functools
import logging
import threading
import warnings
from dataclasses import dataclass

from curation_assets.devices.driver import Driver, ask_driver

_LOG = logging.getLogger(__name__)
_LOCK = threading.Lock()
_INSTALL = "(https://pytorch.org/get-started names the command)"
_SIDE = 16


@dataclass(frozen=True, slots=True)
class Cuda:
    """Whether a card can be used."""

    works: bool
    fault: str = ""
    """Why not, and the remedy, in one line; empty if it works, and where there is no card."""


def cuda(index: int = 0) -> Cuda:
    """Whether PyTorch computes on a card of this process; the first question takes up to a few seconds.

    Args:
        index: number of the card.
    """
    with _LOCK:
        return _asked(index)


def best_device() -> str:
    """'cuda' if PyTorch computes on the first card, else 'cpu'.

    If there is a card that it cannot use, a warning says so once in a process, in one line.
    """
    found = cuda()
    if found.fault:
        _report(found.fault)
    return "cuda" if found.works else "cpu"


def described(device: str, setting: str = "") -> str:
    """A device for people: the name of the card, or why the CPU stands in for one.

    Args:
        device: 'cpu', 'mps', 'cuda' or 'cuda:N'; a card must work.
        setting: what was asked for, such as 'auto'.
    """
    if device.startswith("cuda"):
        import torch

        return f"{device}: {torch.cuda.get_device_name(device)}"
    fault = cuda().fault if (device, setting) == ("cpu", "auto") else ""
    return f"{device}: {fault}" if fault else device


@functools.cache
def _report(fault: str) -> None:
    _LOG.warning("the CPU is used: %s", fault)


@functools.cache
def _asked(index: int) -> Cuda:
    import torch

    with warnings.catch_warnings(record=True) as said:
        # PyTorch warns of what is told here in one line.
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if available:
        return _first_computation(index)
    driver = ask_driver()
    return Cuda(False, "" if driver is None else _why_not(driver, [str(line.message) for line in said]))


def _why_not(driver: Driver, said: list[str]) -> str:
    """What is wrong with a PyTorch that does not see the driver's cards."""
    import torch

    if driver.fault:
        return driver.fault
    there, (major, minor) = f"this machine has {driver.cards}", driver.newest_cuda
    built_for = torch.version.cuda
    if built_for is None:
        return (
            f"{there}, but PyTorch {torch.__version__} is a build without CUDA: install its build for CUDA {major} "
            f"{_INSTALL}"
        )
    build = f"PyTorch's build for CUDA {major}"
    # Builds for a major version run with every driver of it.
    if int(built_for.partition(".")[0]) > major:
        return (
            f"{there}, but PyTorch {torch.__version__} needs CUDA {built_for}, and the driver runs at most CUDA "
            f"{major}.{minor}: update the driver, or install {build} {_INSTALL}"
        )
    why = f" ({_first_line(said[0])})" if said else ""
    seen = "it" if driver.n_cards == 1 else "them"
    return (
        f"{there}, but PyTorch {torch.__version__} does not see {seen}{why}: install {build} anew {_INSTALL}"
    )


def _first_computation(index: int) -> Cuda:
    """Allocate, multiply and read a number: a build without code for the card, or a full card, fails here."""
    import torch

    name = f"card {index}"
    try:
        name = torch.cuda.get_device_name(index)
        ones = torch.ones(_SIDE, _SIDE, device=f"cuda:{index}")
        if float((ones @ ones)[0, 0]) != _SIDE:
            raise ArithmeticError("a product is wrong")
    except Exception as error:  # PyTorch and its libraries report a broken installation in many ways
        remedy = (
            "free memory of the card: nvidia-smi names the processes that hold it"
            if isinstance(error, torch.OutOfMemoryError)
            else f"install the PyTorch build for this card and driver {_INSTALL}"
        )
        return Cuda(
            False,
            f"PyTorch {torch.__version__} (CUDA {torch.version.cuda}) fails on {name} ({_first_line(error)}): {remedy}",
        )
    return Cuda(True)


def _first_line(problem: object) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0].rstrip(".")
