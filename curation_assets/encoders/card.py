"""Batches on their way to a card and back, while the card works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

_MOST_BATCH_BYTES = 128 * 2**20
_MOST_IMAGES = 256


def images_per_batch(image_bytes: int) -> int:
    """`batch_size: auto` on a card, before memory is tried: a power of two.

    256 images, or a batch of 128 MiB if that is less. A ViT-L has then 32,768 tokens or more, many times what its
    products need to fill a card.

    Args:
        image_bytes: of one image as it goes to the card.
    """
    n = _MOST_IMAGES
    while n > 1 and n * image_bytes > _MOST_BATCH_BYTES:
        n //= 2
    return n


class CardTraffic:
    """Copies batches to a card from pinned memory, and embeddings back, without waiting for kernels.

    Two pinned buffers take turns: one is filled while the card reads the other. Copies to the card have a stream of
    their own, so they overlap kernels. On another device the same calls copy at once.

    Args:
        device: torch's name of it.
    """

    def __init__(self, device: str) -> None:
        import torch

        self._device = torch.device(device)
        self._is_card = self._device.type == "cuda"
        self._copies = torch.cuda.Stream(self._device) if self._is_card else None
        self._buffers: list[torch.Tensor | None] = [None, None]
        self._read: list[torch.cuda.Event | None] = [None, None]
        self._next = 0
        # Two threads may use one encoder.
        self._lock = threading.Lock()

    def to_card(self, arrays: Sequence[np.ndarray]) -> torch.Tensor:
        """A tensor (b, ...) on the card of arrays of one shape and type; the caller's stream may use it at once."""
        import numpy as np
        import torch

        with self._lock:
            turn, self._next = self._next, 1 - self._next
            if (event := self._read[turn]) is not None:
                event.synchronize()  # the card read it two batches ago
            staged = self._buffer(
                turn, (len(arrays), *arrays[0].shape), torch.from_numpy(arrays[0][:0]).dtype
            )
            rows = staged.numpy()
            for row, array in zip(rows, arrays, strict=True):
                np.copyto(row, array)
            if self._copies is None:
                return staged.to(self._device, copy=True)
            with torch.cuda.stream(self._copies):
                on_card = staged.to(self._device, non_blocking=True)
                self._read[turn] = self._copies.record_event(_sleeping_event())
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._copies)
        # Its memory must not go to another tensor before the kernels of this stream have read it.
        on_card.record_stream(current)
        return on_card

    def from_card(self, result: torch.Tensor) -> Callable[[], np.ndarray]:
        """Begin to copy a result; the function waits for it and gives float32 of the same shape."""
        import torch

        result = result.to(torch.float32)
        if not self._is_card:
            return result.cpu().numpy
        host = torch.empty(result.shape, dtype=torch.float32, pin_memory=True)
        host.copy_(result, non_blocking=True)
        done = torch.cuda.current_stream(self._device).record_event(_sleeping_event())

        def wait() -> Any:
            done.synchronize()
            return host.numpy().copy()

        return wait

    def _buffer(self, turn: int, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """The first rows of a pinned buffer, made anew if a batch is larger or of another kind."""
        import torch

        buffer = self._buffers[turn]
        if buffer is None or len(buffer) < shape[0] or (buffer.shape[1:], buffer.dtype) != (shape[1:], dtype):
            self._buffers[turn] = buffer = torch.empty(shape, dtype=dtype, pin_memory=self._is_card)
        return buffer[: shape[0]]


def _sleeping_event() -> torch.cuda.Event:
    """An event that is waited for asleep: a thread that asks all the time would take a core from decoding."""
    import torch

    return torch.cuda.Event(blocking=True)
