"""Image encoding: decoding ahead of the encoder against decoding in turn, and bfloat16 against float32.

.venv/bin/python benchmarks/image_encoding.py

A shard of generated JPEGs goes through the step `embeddings` with different numbers of decoding threads. They take
turns, so that a busy machine slows all of them alike, and their outputs are compared byte for byte. One encoder
only sleeps: it stands for a GPU, which leaves the processor to decoding. Then the encoders embed the same images in
each precision, without decoding.
"""

from __future__ import annotations

import argparse
import io
import platform
import random
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import timm
import torch
from machine import processor_name
from one_shard import OneShard
from PIL import Image

from curation_assets.encoders import Encoder, build_encoder
from curation_assets.pools import BundledEncoderSettings, EncoderSettings, TimmEncoderSettings


class SleepingEncoder(Encoder):
    """Prepares images like a real encoder, but then only waits, as if for a GPU."""

    def __init__(self, real: Encoder, seconds_per_image: float) -> None:
        self._real = real
        self._seconds = seconds_per_image

    dimension = 4
    identity = {"model": "sleeping"}  # noqa: RUF012 - stands for a property

    @property
    def window(self) -> int:
        """See `Encoder.window`."""
        return self._real.window

    def prepare(self, sample: Any) -> Any:
        """See `Encoder.prepare`."""
        return self._real.prepare(sample)

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """See `Encoder.encode`."""
        return self.encode_prepared([self.prepare(sample) for sample in samples])

    def encode_prepared(self, prepared: Sequence[torch.Tensor]) -> np.ndarray:
        """See `Encoder.encode_prepared`."""
        time.sleep(self._seconds * len(prepared))
        return np.array([tensor.flatten()[:4].tolist() for tensor in prepared], dtype=np.float32)


def photo(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Soft shapes with some grain, which cost as much to decode as a photograph."""
    shapes = Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8))
    soft = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    return Image.fromarray((soft + rng.integers(-12, 13, soft.shape)).clip(0, 255).astype(np.uint8))


def write_pool(folder: Path, n_images: int, width: int, height: int) -> int:
    """One tar of JPEGs; returns its bytes."""
    rng = np.random.default_rng(0)
    (folder / "raw").mkdir()
    with tarfile.open(folder / "raw" / "a.tar", "w") as archive:
        for i in range(n_images):
            buffer = io.BytesIO()
            photo(rng, width, height).save(buffer, "JPEG", quality=90)
            info = tarfile.TarInfo(f"{i:06}.jpg")
            info.size = len(buffer.getvalue())
            archive.addfile(info, io.BytesIO(buffer.getvalue()))
    return (folder / "raw" / "a.tar").stat().st_size


def compare_threads(shard: OneShard, encoder: Encoder, threads: Sequence[int], repetitions: int) -> None:
    """Print one line for each number of decoding threads."""
    wall: dict[int, list[float]] = {n: [] for n in threads}
    processor: dict[int, list[float]] = {n: [] for n in threads}
    summaries: dict[int, Any] = {}
    digests = set()
    for repetition in range(repetitions):
        for n in random.Random(repetition).sample(list(threads), len(threads)):
            began, began_cpu = time.perf_counter(), time.process_time()
            facts = shard.embed(encoder, n).require_facts()
            wall[n].append(time.perf_counter() - began)
            processor[n].append(time.process_time() - began_cpu)
            summaries[n] = facts.summary
            digests.add(facts.digest)
    assert len(digests) == 1, "outputs differ"
    print(
        f"{'decode_threads':<16}{'images/s':>9}{'in turn = 1':>13}{'CPU s':>8}  where the time went (last call)"
    )
    for n in threads:
        n_images, share = summaries[n]["n_rows"], summaries[n]["share"]
        speed_up = statistics.median(a / b for a, b in zip(wall[0], wall[n], strict=True))
        parts = ", ".join(
            f"{name.replace('_', ' ')} {part:.0%}" for name, part in share.items() if part >= 0.005
        )
        rate, cpu_seconds = n_images / statistics.median(wall[n]), statistics.median(processor[n])
        print(
            f"{n:<16}{rate:>9.1f}{speed_up:>12.2f}x{cpu_seconds:>8.1f}  {parts}; bottleneck: "
            f"{summaries[n]['bottleneck']}",
            flush=True,
        )
    print("the outputs are the same, byte for byte\n")


def compare_precisions(
    make: Callable[[str], EncoderSettings], images: Sequence[Image.Image], repetitions: int
) -> None:
    """Print the speed of each precision, and the distance of its stored embeddings to those in float32."""
    encoders = {name: build_encoder(make(name)) for name in ("float32", "bfloat16", "float16")}
    prepared = [encoders["float32"].prepare(image) for image in images]
    wall: dict[str, list[float]] = {name: [] for name in encoders}
    found: dict[str, np.ndarray] = {}
    for repetition in range(repetitions + 1):  # the first pass warms up
        for name in random.Random(repetition).sample(list(encoders), len(encoders)):
            began = time.perf_counter()
            found[name] = encoders[name].encode_prepared(prepared).astype(np.float16).astype(np.float64)
            wall[name].append(time.perf_counter() - began)
    unit = {name: rows / np.linalg.norm(rows, axis=1, keepdims=True) for name, rows in found.items()}
    for name, seconds in wall.items():
        cosines = (unit["float32"] * unit[name]).sum(axis=1)
        speed_up = statistics.median(a / b for a, b in zip(wall["float32"][1:], seconds[1:], strict=True))
        rate = len(images) / statistics.median(seconds[1:])
        print(
            f"{make(name).model:<28}{name:<10}{rate:>9.1f}{speed_up:>9.2f}x{cosines.min():>12.5f}"
            f"{np.median(cosines):>10.5f}",
            flush=True,
        )


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-images", type=int, default=256)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--height", type=int, default=768)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--decode-threads", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--vit", default="vit_small_patch32_224", help="timm model with random weights")
    parser.add_argument("--only", choices=["overlap", "precision"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{processor_name()}, {options.threads} torch thread(s); torch {torch.__version__}, timm {timm.__version__}, "
        f"Pillow {PIL.__version__}, Python {platform.python_version()}\n"
    )
    bundled = BundledEncoderSettings(kind="bundled", device="cpu", batch_size=32)
    if options.only != "precision":
        with tempfile.TemporaryDirectory() as folder:
            size = write_pool(Path(folder), options.n_images, options.width, options.height)
            print(f"{options.n_images} JPEGs of {options.width} x {options.height}, {size / 1e6:.0f} MB\n")
            shard = OneShard(Path(folder), {"path": "raw"}, {"kind": "bundled"})
            real = build_encoder(bundled)
            threads = [0, *(n for n in options.decode_threads if n)]
            print("EfficientNet-Lite0 on the CPU")
            compare_threads(shard, real, threads, options.repetitions)
            for milliseconds in (4, 12):
                print(f"an encoder that sleeps {milliseconds} ms an image, as a GPU would")
                compare_threads(
                    shard, SleepingEncoder(real, milliseconds / 1000), threads, options.repetitions
                )
    if options.only != "overlap":
        rng = np.random.default_rng(1)
        images = [photo(rng, 320, 240) for _ in range(64)]
        print(f"{'model':<28}{'':<10}{'images/s':>9}{'speed-up':>10}{'min cosine':>12}{'median':>10}")
        compare_precisions(
            lambda name: bundled.model_copy(update={"precision": name}), images, options.repetitions
        )
        vit = TimmEncoderSettings(
            kind="timm", model=options.vit, pretrained=False, device="cpu", batch_size=32
        )
        compare_precisions(
            lambda name: vit.model_copy(update={"precision": name}), images, options.repetitions
        )


if __name__ == "__main__":
    main()
