"""What every encoder on torch shares: batches, device, digest of the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from curation_assets.encoders.base import Encoder
from curation_assets.encoders.device import resolve_device

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image


MAX_ASPECT_RATIO = 32
"""Of what preprocessing sees: a 1 x 10,000 image would otherwise be resized to 256 x 2,560,000 first."""


@contextmanager
def repeatable_weights() -> Iterator[None]:
    """Weights that a model draws at random are the same in every process: shards must agree on them."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class TorchEncoder(Encoder):
    """Runs a torch model over images in batches, in float32 and without gradients.

    The same batch gives the same embeddings, bit for bit, on the same machine and thread count. A sample's
    embedding may differ in the last bits with its batch's size (measured on the CPU: below 1e-5 of the
    largest component), because kernels split sums by shape.

    Args:
        model: put into evaluation mode and moved to the device.
        forward: turns a float32 tensor (b, 3, height, width) into embeddings (b, d); defaults to the model.
        preprocess: turns one RGB image into a float32 tensor (3, height, width).
        identity: what `identity` returns.
        batch_size: images per forward pass.
        device: as in `resolve_device`.
        channels_last: keep convolutions' activations in channels-last order.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        preprocess: Callable[[Image], torch.Tensor],
        identity: Mapping[str, str],
        batch_size: int,
        device: str,
        forward: Callable[[torch.Tensor], torch.Tensor] | None = None,
        channels_last: bool = False,
    ) -> None:
        import torch
        from PIL import Image

        self._device = resolve_device(device)
        self._memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self._model = model.eval().to(device=self._device, dtype=torch.float32)
        self._model = self._model.to(memory_format=self._memory_format)
        self._forward = forward or self._model
        self._preprocess = preprocess
        self._batch_size = batch_size
        self._identity = dict(identity)
        # Libraries name the length of their output differently from model to model: one pass tells for sure.
        self._dimension = self._encode_batch([Image.new("RGB", (32, 32))]).shape[1]

    @property
    def dimension(self) -> int:
        """Length d of an embedding."""
        return self._dimension

    @property
    def identity(self) -> dict[str, str]:
        """What fixes the embeddings: model, digest of its weights, preprocessing, library version."""
        return dict(self._identity)

    @property
    def window(self) -> int:
        """One batch."""
        return self._batch_size

    def encode(self, samples: Sequence[Image]) -> np.ndarray:
        """Embed RGB images, `batch_size` at a time.

        Args:
            samples: decoded images of any size; other modes than RGB are converted, and of an image longer
                than 32 times its width (or the reverse) only the middle is seen.

        Returns:
            float32 array of shape (len(samples), dimension), not normalised.
        """
        import numpy as np

        embeddings = np.empty((len(samples), self._dimension), dtype=np.float32)
        for first in range(0, len(samples), self._batch_size):
            batch = samples[first : first + self._batch_size]
            embeddings[first : first + len(batch)] = self._encode_batch(batch)
        return embeddings

    def _encode_batch(self, images: Sequence[Image]) -> np.ndarray:
        import torch

        with _one_torch_thread():
            pixels = torch.stack(
                [self._preprocess(_bound_aspect_ratio(image).convert("RGB")) for image in images]
            )
        pixels = pixels.to(device=self._device, dtype=torch.float32)
        with torch.inference_mode(), self._repeatable_kernels():
            embeddings = self._forward(pixels.contiguous(memory_format=self._memory_format))
        return embeddings.to(dtype=torch.float32, device="cpu").numpy()

    def _repeatable_kernels(self) -> AbstractContextManager[Any]:
        import torch

        if not self._device.startswith("cuda"):
            return nullcontext()
        # cuDNN otherwise times its algorithms and may choose another one in the next run.
        return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Run small operations on one thread, for their cost is in waiting for the other threads.

    Preprocessing took 1.7 ms an image on two idle cores either way; with two other processes busy on them it
    took 96 ms on two threads and 9 ms on one.
    """
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _bound_aspect_ratio(image: Image) -> Image:
    longest = MAX_ASPECT_RATIO * min(image.size)
    if max(image.size) <= longest:
        return image
    width, height = (min(side, longest) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def digest_weights(state: Mapping[str, torch.Tensor]) -> str:
    """The sha256, in hexadecimal, of tensors with their names, types and shapes.

    Reads every byte once: about 1 s per GB.
    """
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
