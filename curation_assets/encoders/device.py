"""Which device a model runs on."""

from __future__ import annotations

from curation_assets.errors import PoolSpecError


def resolve_device(device: str) -> str:
    """Turn the `device` setting of an encoder into a device this machine has.

    Args:
        device: 'auto', 'cpu', 'mps', 'cuda' or 'cuda:N'; 'auto' takes CUDA where torch sees it, else the CPU.

    Returns:
        A device name torch accepts.

    Raises:
        PoolSpecError: if torch does not know the device or the machine lacks it.
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
        raise PoolSpecError(f"encoder.device is '{device}': choose auto, cpu, cuda, cuda:N or mps")
    if (parsed.index or 0) >= available[parsed.type]:
        raise PoolSpecError(
            f"encoder.device is '{device}', but torch sees {available[parsed.type]} {parsed.type} device(s) "
            f"here: choose auto"
        )
    return device
