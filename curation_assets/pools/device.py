"""Which device a setting names on this machine."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from curation_assets.errors import PoolSpecError

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,3})?")


def _named_device(value: str) -> str:
    if not _DEVICE.fullmatch(value):
        raise ValueError("choose auto, cpu, cuda, cuda:N or mps")
    return value


Device = Annotated[str, AfterValidator(_named_device)]
"""A device setting; whether this machine has the device shows when it is used."""


def resolve_device(device: str, setting: str) -> str:
    """Turn a device setting into a device that this machine has.

    Args:
        device: 'auto', 'cpu', 'mps', 'cuda' or 'cuda:N'; 'auto' takes CUDA if torch sees it, else the CPU.
        setting: key that `device` was read from, for errors, e.g. 'fit_device'.

    Returns:
        A device name that torch accepts.

    Raises:
        PoolSpecError: if the name is unknown or the machine lacks the device.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        parsed = torch.device(device)
    except RuntimeError:
        parsed = None
    available = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    if parsed is None or parsed.type not in available:
        raise PoolSpecError(f"{setting} is '{device}': choose auto, cpu, cuda, cuda:N or mps")
    if (parsed.index or 0) >= available[parsed.type]:
        raise PoolSpecError(
            f"{setting} is '{device}', but torch sees {available[parsed.type]} {parsed.type} device(s) here: "
            f"choose auto"
        )
    return device
