"""The number format of a model's matrix products."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

# As torch names them, on x86 and on Arm; Linux calls Arm's feature bf16 too.
_CPU_FEATURES = {"avx512_bf16", "amx_bf16", "bf16"}
_CPU_INFO = Path("/proc/cpuinfo")

Precision = Literal["float32", "bfloat16", "float16"]


def resolve_precision(precision: Literal["auto", "float32", "bfloat16", "float16"], device: str) -> Precision:
    """Turn the `precision` setting into a format: 'auto' takes bfloat16 if the device multiplies it in hardware."""
    if precision != "auto":
        return precision
    return "bfloat16" if multiplies_bfloat16(device) else "float32"


def weights_format(precision: Precision) -> torch.dtype:
    """The format that weights are kept in.

    bfloat16 has the range of float32, so a whole model can use it. float16 ends at 65,504: sums along the layers of a
    large model go beyond. Its weights stay in float32, and only products are made in float16 (see `products`).
    """
    import torch

    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def products(precision: Precision, device: str) -> AbstractContextManager[Any]:
    """In the block, matrix products and convolutions are made in float16 if that is the precision.

    This is torch's autocast: norms, softmax and sums along the layers stay in float32.
    """
    import torch

    if precision != "float16":
        return nullcontext()
    return torch.autocast(device.partition(":")[0], dtype=torch.float16)


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
