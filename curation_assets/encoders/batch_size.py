"""How many samples a model takes at once, and what happens when memory does not suffice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from curation_assets.errors import PoolSpecError

T = TypeVar("T")
R = TypeVar("R")
_LOG = logging.getLogger(__name__)
# cuBLAS and cuDNN have words of their own for it.
_NO_MEMORY = ("out of memory", "ALLOC_FAILED")


class BatchSize:
    """Samples of a forward pass at most. Halved when the device runs out of memory, and not raised again.

    Args:
        size: to begin with, >= 1.
        device: of the model, for messages.
    """

    def __init__(self, size: int, device: str) -> None:
        self.size = size
        self._device = device

    def run(self, work: Callable[[Sequence[T]], R], samples: Sequence[T]) -> list[R]:
        """Call a function with at most `size` neighbouring samples at a time; results in their order.

        Where memory does not suffice, the same samples are tried again in smaller batches. Finished batches are kept.

        Args:
            work: raises torch's error if the device has no memory left.
            samples: that are sliced.

        Raises:
            PoolSpecError: if a single sample does not fit.
        """
        results: list[R] = []
        first = 0
        while first < len(samples):
            batch = samples[first : first + self.size]
            try:
                results.append(work(batch))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                said = ". ".join(str(error).split(". ")[:3])
            else:
                first += len(batch)
                continue
            # Here the error is gone, and with it the tensors that its traceback held.
            self._halve(len(batch), said)
        return results

    def _halve(self, failed: int, said: str) -> None:
        import torch

        if failed == 1:
            raise PoolSpecError(
                f"encoder.model: a batch of one does not fit into the memory of {self._device} ({said}): end other "
                f"programs that use it, set encoder.precision: bfloat16, choose a smaller model, or set "
                f"encoder.device: cpu"
            )
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        self.size = failed // 2
        _LOG.warning(
            "encoder: %d samples at a time do not fit into the memory of %s; it goes on with %d. "
            "encoder.batch_size: %d avoids the attempt",
            failed, self._device, self.size, self.size,
        )  # fmt: skip


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch means that a device has no memory left."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _NO_MEMORY)
