"""Image encoding on a card: the step `embeddings`, from JPEGs to a stored shard, against a bare loop.

.venv/bin/python benchmarks/gpu_encoding.py

Both sides run the same model, with random weights, in the same precision and batch size, in turn. The bare loop runs
over tensors that are on the card from the start, and waits once at the end: so fast is the model alone. Then
the time that one core takes to decode an image says how many cores keep the card busy.

On a machine without a card, `--model test_vit --n-images 128 --device cpu` shows that it works.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL
import timm
import torch
from image_encoding import photo
from machine import processor_name
from one_shard import OneShard

from curation_assets.encoders import build_encoder
from curation_assets.encoders.precision import Precision, products, weights_format
from curation_assets.encoders.torch_encoder import TorchEncoder, has_overlapping_convolutions
from curation_assets.formats.images import decode_image, pixel_signatures
from curation_assets.formats.pixels.grounds import is_near_constant
from curation_assets.pools import TimmEncoderSettings
from curation_assets.steps.ingest.decoded_windows import resolve_decode_threads

_DISTINCT = 256


def jpegs(n: int, width: int, height: int) -> list[bytes]:
    """Different photographs of one size."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(n):
        buffer = io.BytesIO()
        photo(rng, width, height).save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made


def write_pool(folder: Path, files: list[bytes], n_images: int) -> None:
    """One tar, in which the files repeat."""
    (folder / "raw").mkdir()
    with tarfile.open(folder / "raw" / "a.tar", "w") as archive:
        for i in range(n_images):
            content = files[i % len(files)]
            info = tarfile.TarInfo(f"{i:07}.jpg")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


class BareLoop:
    """The model of an encoder, over one batch that is ready on its device."""

    def __init__(self, encoder: TorchEncoder, settings: TimmEncoderSettings) -> None:
        self._device: str = settings.device
        self._precision: Precision = "float32" if settings.precision == "auto" else settings.precision
        model = timm.create_model(settings.model, pretrained=False, num_classes=0).eval()
        has_order = has_overlapping_convolutions(model)
        memory_format = torch.channels_last if has_order else torch.contiguous_format
        dtype = weights_format(self._precision)
        self._model = model.to(device=self._device, dtype=dtype).to(memory_format=memory_format)
        self._forward = torch.compile(self._model, dynamic=False) if settings.compile else self._model
        shape = (encoder.window, *timm.data.resolve_model_data_config(model)["input_size"])
        self._batch = torch.rand(shape, device=self._device, dtype=dtype).to(memory_format=memory_format)

    def rate(self, n_images: int) -> float:
        """Images per second."""
        n_batches = max(1, round(n_images / len(self._batch)))
        with torch.inference_mode(), products(self._precision, self._device):
            self._forward(self._batch)
            self._wait()
            began = time.perf_counter()
            for _ in range(n_batches):
                self._forward(self._batch)
            self._wait()
        return n_batches * len(self._batch) / (time.perf_counter() - began)

    def _wait(self) -> None:
        if self._device.startswith("cuda"):
            torch.cuda.synchronize(self._device)


def decode_seconds(encoder: TorchEncoder, files: list[bytes]) -> float:
    """Processor time of one image on the way to the encoder, in one thread."""
    some = files[:32]
    taken = []
    for _ in range(3):
        began = time.thread_time()
        for content in some:
            image = decode_image(content, 10**9)
            pixel_signatures([image])
            is_near_constant(image)
            encoder.prepare(image)
        taken.append((time.thread_time() - began) / len(some))
    return min(taken)


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="vit_large_patch14_dinov2", help="timm model, random weights")
    parser.add_argument("--n-images", type=int, default=8192)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=384)
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--batch-size", default="auto")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--decode-threads", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    settings = TimmEncoderSettings(
        kind="timm",
        model=options.model,
        pretrained=False,
        precision=options.precision,
        batch_size=options.batch_size if options.batch_size == "auto" else int(options.batch_size),
        compile=options.compile,
        device=options.device,
    )
    encoder = build_encoder(settings)
    assert isinstance(encoder, TorchEncoder)
    on_card = options.device.startswith("cuda")
    device = torch.cuda.get_device_name(options.device) if on_card else options.device
    threads = resolve_decode_threads(
        options.decode_threads if options.decode_threads == "auto" else int(options.decode_threads)
    )
    print(
        f"{device}, {processor_name()}; torch {torch.__version__}, timm {timm.__version__}, Pillow {PIL.__version__}\n"
        f"{options.model}, {options.precision}{', compiled' if options.compile else ''}, {encoder.window} images a "
        f"batch; {options.n_images} JPEGs of {options.width} x {options.height}, {threads} decoding threads\n"
    )
    files = jpegs(min(_DISTINCT, options.n_images), options.width, options.height)
    bare = BareLoop(encoder, settings)
    ratios, rates, bare_rates = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        write_pool(Path(folder), files, options.n_images)
        shard = OneShard(Path(folder), {"path": "raw"}, {"kind": "timm", "model": options.model})
        shard.embed(encoder, threads)  # warms up
        for _ in range(options.repetitions):
            bare_rates.append(bare.rate(options.n_images))
            facts = shard.embed(encoder, threads).require_facts()
            rates.append(facts.summary["samples_per_second"])
            ratios.append(rates[-1] / bare_rates[-1])
    share = ", ".join(f"{name.replace('_', ' ')} {part:.0%}" for name, part in facts.summary["share"].items())
    seconds = decode_seconds(encoder, files)
    rate = statistics.median(bare_rates)
    print(f"bare loop over ready tensors  {rate:>9,.1f} images/s")
    print(f"JPEGs to a stored shard       {statistics.median(rates):>9,.1f} images/s")
    print(f"ratio                         {statistics.median(ratios):>9.3f}\n")
    print(f"where the time went: {share}; bottleneck: {facts.summary['bottleneck']}")
    print(
        f"decoding: {1e3 * seconds:.2f} ms an image, {1 / seconds:,.0f} images/s for each core; the bare loop's speed "
        f"takes {rate * seconds:.1f} cores"
    )


if __name__ == "__main__":
    main()
