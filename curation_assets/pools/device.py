"""Which device a setting names on this machine."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from curation_assets.devices.cuda import best_device, cuda
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
        device: 'auto', 'cpu', 'mps', 'cuda' or 'cuda:N'; 'auto' takes CUDA if PyTorch computes on the first card,
            else the CPU. If there is a card that it cannot use, a warning says why, once in a process.
        setting: key that `device` was read from, for errors, e.g. 'fit_device'.

    Returns:
        A device name that torch accepts.

    Raises:
        PoolSpecError: if the name is unknown, or the machine lacks the device or cannot use it.
    """
    if device == "auto":
        return best_device()
    if not _DEVICE.fullmatch(device):
        raise PoolSpecError(f"{setting} is '{device}': choose auto, cpu, cuda, cuda:N or mps")
    if device == "cpu":
        return device
    kind, _, number = device.partition(":")
    index, n_there = int(number or 0), _devices(kind)
    if index >= n_there:
        fault = cuda().fault if kind == "cuda" and not n_there else ""
        why = f" ({fault})" if fault else ""
        raise PoolSpecError(
            f"{setting} is '{device}', but torch sees {n_there} {kind} device(s) here{why}: choose auto"
        )
    if kind == "cuda" and (fault := cuda(index).fault):
        raise PoolSpecError(f"{setting} is '{device}', but {fault}; or choose auto")
    return device


def _devices(kind: str) -> int:
    import torch

    return torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available())
