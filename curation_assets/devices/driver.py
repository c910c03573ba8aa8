"""What NVIDIA's driver says of this machine, whatever PyTorch was built for."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_SUCCESS, _NO_DEVICE = 0, 100


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver with at least one card, or one that fails."""

    n_cards: int = 0
    """Cards that this process may use (`CUDA_VISIBLE_DEVICES`)."""
    newest_cuda: tuple[int, int] = (0, 0)
    """Major and minor version of the newest CUDA that it runs."""
    fault: str = ""
    """What is wrong and the remedy; empty if it answers."""

    @property
    def cards(self) -> str:
        """How many there are, in words."""
        return f"{self.n_cards} NVIDIA card{'' if self.n_cards == 1 else 's'}"


def ask_driver() -> Driver | None:
    """The driver of this machine; None if it has none, or no card that this process may use."""
    library = _library()
    if library is None:
        return _without_library()
    if code := library.cuInit(0):
        return None if code == _NO_DEVICE else Driver(fault=_refused(library, code))
    n_cards, version = ctypes.c_int(), ctypes.c_int()
    for answer in (
        library.cuDeviceGetCount(ctypes.byref(n_cards)),
        library.cuDriverGetVersion(ctypes.byref(version)),
    ):
        if answer != _SUCCESS:
            return Driver(fault=_refused(library, answer))
    # The version is 1000 major + 10 minor.
    newest = (version.value // 1000, version.value % 1000 // 10)
    return Driver(n_cards.value, newest) if n_cards.value else None


def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError:
        return None


def _without_library() -> Driver | None:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
    if hidden or not _device_files():
        return None
    return Driver(
        fault=f"this machine has an NVIDIA card, but the driver's library {_LIBRARY} is missing: install the driver, "
        f"or start the container with NVIDIA's container toolkit"
    )


def _device_files() -> list[Path]:
    """Of cards, one each, as the driver makes them on Linux."""
    return sorted(Path("/dev").glob("nvidia[0-9]*"))


def _refused(library: ctypes.CDLL, code: int) -> str:
    name = ctypes.c_char_p()
    library.cuGetErrorName(code, ctypes.byref(name))
    named = name.value.decode() if name.value else f"error {code}"
    return (
        f"the NVIDIA driver does not answer ({named}): see what nvidia-smi says, restart the machine, or install the "
        f"driver anew"
    )
