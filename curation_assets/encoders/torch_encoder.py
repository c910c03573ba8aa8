"""Base of the image encoders on torch: batches, device, digest of the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from curation_assets.encoders.base import Encoder
from curation_assets.encoders.batch_size import BatchSize
from curation_assets.encoders.card import CardTraffic, images_per_batch
from curation_assets.encoders.compiled import BACKEND, compiled, compiler_errors, padded
from curation_assets.encoders.pixels import PixelPipeline, least_side
from curation_assets.encoders.precision import products, resolve_precision, weights_format
from curation_assets.pools import BundledEncoderSettings, OpenClipEncoderSettings, TimmEncoderSettings
from curation_assets.pools.device import resolve_device

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

ImageEncoder = BundledEncoderSettings | TimmEncoderSettings | OpenClipEncoderSettings
_CPU_BATCH = 64
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
    """Runs a torch model over images in batches, without gradients.

    The same batch gives the same embeddings, bit for bit, on the same machine and thread count. The size of a batch
    may change the last bits of an embedding, as kernels split sums by shape (measured on the CPU: below 1e-5 of the
    largest component).

    On a card images travel as bytes and are normalised there (see `PixelPipeline`), and a batch is queued while the
    card works on the one before. Convolutions work in channels-last order. None of this changes what is computed.

    Args:
        model: put into evaluation mode and moved to the device.
        forward: turns a tensor (b, 3, height, width) into embeddings (b, d); defaults to the model.
        preprocess: turns one RGB image into a float32 tensor (3, height, width); called by several threads.
        identity: see `Encoder.identity`; kind and model are added, and what the settings change (`precision`,
            `jpeg_decoding`, `compile`).
        settings: of the encoder; its precision is that of products (see `weights_format`), embeddings are float32.
        channels_last: keep activations of convolutions in channels-last order on the CPU too.

    Raises:
        PoolSpecError: if a single image does not fit into the device's memory, or the model cannot do what the
            settings ask for.
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

        self._device = resolve_device(settings.device, "encoder.device")
        on_card = feeds_a_card(self._device)
        channels_last = channels_last or (on_card and has_overlapping_convolutions(model))
        self._memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self._precision = resolve_precision(settings.precision, self._device)
        self._dtype = weights_format(self._precision)
        self._model = model.eval().to(device=self._device, dtype=self._dtype)
        self._model = self._model.to(memory_format=self._memory_format)
        self._forward = forward or self._model
        self._preprocess = preprocess
        self._traffic = CardTraffic(self._device) if on_card else None
        self._pixels = PixelPipeline.of(preprocess) if on_card else None
        self._normalise = self._pixels.normaliser(self._device) if self._pixels else None
        # Stored shards in float32 have no `precision` in their identity, and must agree with new ones.
        self.identity = {"kind": settings.kind, "model": settings.model, **identity}
        if self._precision != "float32":
            self.identity["precision"] = self._precision
        if settings.jpeg_decoding == "scaled":
            self.least_side = least_side(preprocess, settings.model)
            self.identity["jpeg_decoding"] = f"scaled to no less than {self.least_side}"
        self._is_compiled = settings.compile
        if self._is_compiled:
            self._forward = compiled(self._forward)
            self.identity["compile"] = BACKEND
        self.dimension = self._first_pass(settings)
        self.window = self._batch.size
        self.n_ahead = 1 if on_card else 0

    def _first_pass(self, settings: ImageEncoder) -> int:
        """Find the batch size, and the embedding's length, whose name differs between models."""
        from PIL import Image

        blank = self.prepare(Image.new("RGB", (32, 32)))
        # A pass at full size shows on a card whether it fits; on the CPU it would only take time.
        n_tried, size = 1, _CPU_BATCH
        if settings.batch_size != "auto":
            size = settings.batch_size
        elif self._traffic:
            n_tried = size = images_per_batch(blank.nbytes)
        self._batch = BatchSize(size, self._device)
        with compiler_errors(settings.model) if self._is_compiled else nullcontext():
            return self.encode_prepared([blank] * n_tried).shape[1]

    def encode(self, samples: Sequence[Image]) -> np.ndarray:
        """Embed RGB images, `batch_size` at a time.

        Args:
            samples: decoded images of any size; other modes are converted to RGB. An image with an aspect ratio
                above 32 is cut to its middle.

        Returns:
            float32 array of shape (len(samples), dimension), not normalised.
        """
        return self.encode_prepared([self.prepare(image) for image in samples])

    def prepare(self, sample: Image) -> torch.Tensor | np.ndarray:
        """The model's input for an image: a float32 tensor (3, height, width), 0.6 MB for most models.

        For a card it is an array, of bytes (height, width, 3) if the preprocessing normalises last: 0.15 MB.
        """
        image = _bound_aspect_ratio(sample)
        # Converting an image to its own mode copies it.
        image = image if image.mode == "RGB" else image.convert("RGB")
        if self._pixels:
            return self._pixels.bytes_of(image)
        with _one_torch_thread():
            pixels = self._preprocess(image)
        return pixels.numpy() if self._traffic else pixels

    def encode_prepared(self, prepared: Sequence[Any]) -> np.ndarray:
        """See `Encoder.encode_prepared`."""
        return self.begin(prepared)()

    def begin(self, prepared: Sequence[Any]) -> Callable[[], np.ndarray]:
        """See `Encoder.begin`. Memory of a card is taken here, so it can only run out here."""
        import numpy as np

        parts = self._batch.run(self._begin_batch, prepared)
        if not parts:
            return lambda: np.empty((0, self.dimension), dtype=np.float32)
        return parts[0] if len(parts) == 1 else lambda: np.concatenate([part() for part in parts])

    def _begin_batch(self, prepared: Sequence[Any]) -> Callable[[], np.ndarray]:
        import torch

        if self._traffic:
            pixels = self._traffic.to_card(prepared)
            pixels = self._normalise(pixels) if self._normalise else pixels
        else:
            with _one_torch_thread():
                pixels = torch.stack(list(prepared))
        pixels = pixels.to(device=self._device, dtype=self._dtype)
        if self._is_compiled:
            pixels = padded(pixels, self._batch.size)
        with torch.inference_mode(), self._repeatable_kernels(), products(self._precision, self._device):
            embeddings = self._forward(pixels.contiguous(memory_format=self._memory_format))
        embeddings = embeddings[: len(prepared)]
        if self._traffic:
            return self._traffic.from_card(embeddings)
        return embeddings.to(dtype=torch.float32, device="cpu").numpy

    def _repeatable_kernels(self) -> AbstractContextManager[Any]:
        import torch

        if not feeds_a_card(self._device):
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


def feeds_a_card(device: str) -> bool:
    """Whether batches go to a card that works beside the processor."""
    return device.startswith("cuda")


def has_overlapping_convolutions(model: torch.nn.Module) -> bool:
    """Whether a model has convolutions whose windows overlap. Those of a ViT's patches do not."""
    import torch

    convolutions = (m for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    return any(max(m.kernel_size) > max(m.stride) for m in convolutions)


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
