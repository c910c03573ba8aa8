"""The number format of a model's matrix products."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

# As torch names them, on x86 and on Arm; Linux calls Arm's feature bf16 too.
_CPU_FEATURES = {"avx512_bf16", "amx_bf16", "bf16"}
_CPU_INFO = Path("/proc/cpuinfo")

Precision = Literal["float32", "bfloat16"]


def resolve_precision(precision: Literal["auto", "float32", "bfloat16"], device: str) -> Precision:
    """Turn the `precision` setting into a format: 'auto' takes bfloat16 if the device multiplies it in hardware."""
    if precision != "auto":
        return precision
    return "bfloat16" if multiplies_bfloat16(device) else "float32"


def multiplies_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    import torch

    if device.startswith("cuda"):
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return bool(_CPU_FEATURES & _cpu_features())


def _cpu_features() -> set[str]:
    import torch

    capabilities = getattr(torch.cpu, "get_capabilities", None)  # torch 2.10 and later
    if capabilities is not None:
        return {name for name, value in capabilities().items() if value is True}
    if not _CPU_INFO.exists():
        return set()
    lines = _CPU_INFO.read_text(encoding="utf-8").splitlines()
    flags = (line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features")))
    return set(next(flags, "").split())
