"""Base of the image encoders on torch: batches, device, digest of the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from curation_assets.encoders.base import Encoder
from curation_assets.encoders.precision import resolve_precision
from curation_assets.pools import BundledEncoderSettings, OpenClipEncoderSettings, TimmEncoderSettings
from curation_assets.pools.device import resolve_device

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

ImageEncoder = BundledEncoderSettings | TimmEncoderSettings | OpenClipEncoderSettings
MAX_ASPECT_RATIO = 32
"""Largest for preprocessing, which would otherwise resize a 1 x 10,000 image to 256 x 2,560,000 first."""


@contextmanager
def repeatable_weights() -> Iterator[None]:
    """Make weights that a model draws at random the same in every process, so that shards agree."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class TorchEncoder(Encoder):
    """Runs a torch model over images in batches, without gradients, in float32 or bfloat16.

    The same batch gives the same embeddings, bit for bit, on the same machine and thread count. The size of a batch
    may change the last bits of an embedding, as kernels split sums by shape (measured on the CPU: below 1e-5 of the
    largest component).

    Args:
        model: put into evaluation mode and moved to the device.
        forward: turns a tensor (b, 3, height, width) into embeddings (b, d); defaults to the model.
        preprocess: turns one RGB image into a float32 tensor (3, height, width); called by several threads.
        identity: see `Encoder.identity`; kind and model are added, and `precision` if it is bfloat16.
        settings: of the encoder; its precision is that of weights and activations, embeddings are float32.
        channels_last: keep activations of convolutions in channels-last order.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        preprocess: Callable[[Image], torch.Tensor],
        identity: Mapping[str, str],
        settings: ImageEncoder,
        forward: Callable[[torch.Tensor], torch.Tensor] | None = None,
        channels_last: bool = False,
    ) -> None:
        import torch
        from PIL import Image

        self._device = resolve_device(settings.device, "encoder.device")
        self._memory_format = torch.channels_last if channels_last else torch.contiguous_format
        chosen = resolve_precision(settings.precision, self._device)
        self._dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[chosen]
        self._model = model.eval().to(device=self._device, dtype=self._dtype)
        self._model = self._model.to(memory_format=self._memory_format)
        self._forward = forward or self._model
        self._preprocess = preprocess
        self.window = settings.batch_size
        # Stored shards in float32 have no `precision` in their identity, and must agree with new ones.
        self.identity = {"kind": settings.kind, "model": settings.model, **identity}
        if chosen != "float32":
            self.identity["precision"] = chosen
        # The name of the dimension differs between models: one pass measures it.
        self.dimension = self._encode_batch([self.prepare(Image.new("RGB", (32, 32)))]).shape[1]

    def encode(self, samples: Sequence[Image]) -> np.ndarray:
        """Embed RGB images, `batch_size` at a time.

        Args:
            samples: decoded images of any size; other modes are converted to RGB. An image with an aspect ratio
                above 32 is cut to its middle.

        Returns:
            float32 array of shape (len(samples), dimension), not normalised.
        """
        return self.encode_prepared([self.prepare(image) for image in samples])

    def prepare(self, sample: Image) -> torch.Tensor:
        """The model's input for an image: a float32 tensor (3, height, width), 0.6 MB for most models."""
        with _one_torch_thread():
            image = _bound_aspect_ratio(sample)
            # Converting an image to its own mode copies it.
            return self._preprocess(image if image.mode == "RGB" else image.convert("RGB"))

    def encode_prepared(self, prepared: Sequence[torch.Tensor]) -> np.ndarray:
        """See `Encoder.encode_prepared`."""
        import numpy as np

        embeddings = np.empty((len(prepared), self.dimension), dtype=np.float32)
        for first in range(0, len(prepared), self.window):
            batch = prepared[first : first + self.window]
            embeddings[first : first + len(batch)] = self._encode_batch(batch)
        return embeddings

    def _encode_batch(self, tensors: Sequence[torch.Tensor]) -> np.ndarray:
        import torch

        with _one_torch_thread():
            pixels = torch.stack(list(tensors))
        if self._device.startswith("cuda"):
            # A GPU copies from pinned memory by itself while kernels are queued.
            pixels = pixels.pin_memory().to(self._device, non_blocking=True)
        pixels = pixels.to(device=self._device, dtype=self._dtype)
        with torch.inference_mode(), self._repeatable_kernels():
            embeddings = self._forward(pixels.contiguous(memory_format=self._memory_format))
        return embeddings.to(dtype=torch.float32, device="cpu").numpy()

    def _repeatable_kernels(self) -> AbstractContextManager[Any]:
        import torch

        if not self._device.startswith("cuda"):
            return nullcontext()
        # Otherwise cuDNN times its algorithms and may choose another one in the next run.
        return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Run small operations on one thread: their cost is waiting for other threads.

    Preprocessing takes 1.7 ms per image on two idle cores with one or two threads. With two other processes busy on
    those cores it takes 96 ms on two threads and 9 ms on one.
    """
    import torch

    # The number belongs to a thread, but new threads start with the last number that any thread set. If it is 1 here,
    # another thread may have set it and will restore it.
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        yield
        return
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
