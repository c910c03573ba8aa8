"""Models compiled by torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from curation_assets.encoders.batch_size import is_out_of_memory
from curation_assets.errors import PoolSpecError

if TYPE_CHECKING:
    import torch

BACKEND = "inductor"


def compiled(forward: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A forward pass that is compiled for the shape of its first batch, and again for another shape.

    Kernels are chosen by rules and not by timing them, where torch (2.9 and later) can: timings differ between
    processes, and with them the last bits.
    """
    import torch
    from torch._inductor import config

    has_rules = BACKEND == "inductor" and hasattr(config, "deterministic")
    options: dict[str, Any] | None = {"deterministic": True} if has_rules else None
    return torch.compile(forward, dynamic=False, backend=BACKEND, options=options)


@contextmanager
def compiler_errors(model: str) -> Iterator[None]:
    """Turn what a compiler raises at the first batch into an error that names the setting.

    Raises:
        PoolSpecError: naming the model and the remedy.
    """
    try:
        yield
    except PoolSpecError:
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise PoolSpecError(
            f"encoder.compile is true, but torch cannot compile '{model}' here ({first_line}): install a C++ compiler "
            f"(and on a card Triton), or set encoder.compile: false"
        ) from error


def padded(pixels: torch.Tensor, n: int) -> torch.Tensor:
    """A batch with images of zeros behind it, so that the last batch of a shard has the shape that was compiled."""
    import torch

    if len(pixels) == n:
        return pixels
    return torch.cat([pixels, pixels.new_zeros((n - len(pixels), *pixels.shape[1:]))])
