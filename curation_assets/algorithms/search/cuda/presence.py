"""Whether the Triton kernels run on a device."""

from __future__ import annotations

import functools
import logging

import torch

from curation_assets.algorithms.search.cuda import row_launches

_LOG = logging.getLogger(__name__)
# The error bound holds from Ampere on; older tensor cores add fewer products at a time.
_FIRST_CAPABILITY = (8, 0)


@functools.cache
def runs_kernels(device: torch.device) -> bool:
    """Whether the kernels run on a device: an NVIDIA card from Ampere on, and a Triton that works there.

    The first question about a device compiles and runs a small kernel. If that fails, one warning says why.

    Args:
        device: torch device.
    """
    if device.type != "cuda" or not torch.cuda.is_available() or torch.version.hip is not None:
        return False
    if torch.cuda.get_device_capability(device) < _FIRST_CAPABILITY:
        return False
    try:
        import triton.tools.tensor_descriptor  # noqa: F401 - since Triton 3.4

        row = torch.ones(1, 8, device=device)
        row_launches.pair_squares(row, None, row, torch.zeros(1, dtype=torch.int64, device=device))
    except Exception as error:  # Triton reports a missing compiler or an old driver in many ways
        _LOG.warning("%s: nearest centroids are found without Triton kernels: %s", device, error)
        return False
    return True
