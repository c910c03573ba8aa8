"""Which implementation serves a device: the only place that looks at what kind of device it is."""

from __future__ import annotations

from enum import Enum

import torch

from curation_assets.algorithms.search.cuda.presence import runs_kernels


class Kind(Enum):
    """The implementations, a folder each."""

    CPU = "cpu"
    """Compiled loops."""
    CUDA = "cuda"
    """Triton kernels."""
    PLAIN = "plain"
    """Torch alone: other devices, and cards without kernels."""


def kind_of(device: torch.device) -> Kind:
    """The implementation for a device."""
    if device.type == "cpu":
        return Kind.CPU
    return Kind.CUDA if runs_kernels(device) else Kind.PLAIN
