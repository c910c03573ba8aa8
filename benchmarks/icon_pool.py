"""A long-tailed pool of icons, and held-out drawings with names, for `ssl_icons.py`.

Source: the npm package `@iconify/json`, which holds some 390,000 drawings in 240 icon sets, unpacked to a folder.

The long tail is the package's own, nothing is added to it: sets have from 30 drawings to more than 30,000, 86 % of
the drawings are without colour, and coloured emoji, logos and flags share the rest. `calendar` is drawn in 134 sets,
but nine names out of ten in only one or two. The pool is a uniform random sample of the drawings.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
import torch
from PIL import Image

from curation_assets.encoders import build_encoder
from curation_assets.pools import BundledEncoderSettings

TRAIN_PIXELS = 32
ENCODER_PIXELS = 128
"""Of the drawings that are embedded for curation, as in the emoji demo."""
MIN_DRAWINGS = 10
"""Sets that a name must be drawn in to be a class of the probes."""
N_LABELLED, N_TEST = 3, 3
"""Drawings of each class that are held out: to train the probes on, and to test them on."""
NEAR_COPY = 0.985
"""Cosine of centred pixels from which on a test drawing counts as a copy of one in the pool or of a labelled one."""
_ORDER_SEED = 0
_NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


@dataclass(frozen=True, slots=True)
class IconPool:
    """Rendered drawings: uint8 (n, 32, 32, 3), on white. Classes are numbers of names."""

    pool: np.ndarray
    embeddings: np.ndarray
    """float32 (n, 1280), of the packaged EfficientNet, for curation only."""
    pool_sets: np.ndarray
    """int64 (n,): icon set of each drawing of the pool."""
    labelled: np.ndarray
    labelled_classes: np.ndarray
    test: np.ndarray
    test_classes: np.ndarray
    class_drawings: np.ndarray
    """int64 (classes,): drawings of each name in the package."""


def load_icon_pool(package: Path, cache: Path, n_pool: int) -> IconPool:
    """Render, embed and store the pool, or read it from the cache. Embeddings take about 25 ms per icon and core.

    Args:
        package: the unpacked npm package, with a folder `json`.
        cache: folder for `icons_<n_pool>.npz`; embeddings are stored in parts, so a killed run goes on.
        n_pool: drawings of the pool.
    """
    stored = cache / f"icons_{n_pool}.npz"
    if not stored.exists():
        cache.mkdir(parents=True, exist_ok=True)
        pool = _make(package, cache, n_pool)
        temporary = stored.with_suffix(".partial.npz")
        np.savez_compressed(temporary, **{field.name: getattr(pool, field.name) for field in fields(pool)})
        temporary.rename(stored)
    with np.load(stored) as arrays:
        return IconPool(**arrays)


def _make(package: Path, cache: Path, n_pool: int) -> IconPool:
    sets = _read_sets(package)
    drawings = sorted(
        ((prefix, name) for prefix, icons in sets.items() for name in icons["icons"]), key=_shuffle_key
    )
    by_name = defaultdict(list)
    for drawing in drawings:
        by_name[drawing[1]].append(drawing)
    names = sorted(name for name, drawn in by_name.items() if len(drawn) >= MIN_DRAWINGS)
    print(
        f"{len(drawings):,} drawings in {len(sets)} sets, {len(names):,} names in {MIN_DRAWINGS} sets or more"
    )
    held_out = [drawing for name in names for drawing in by_name[name][: N_LABELLED + N_TEST]]
    is_held_out = set(held_out)
    pooled = [drawing for drawing in drawings if drawing not in is_held_out]

    numbers = {prefix: number for number, prefix in enumerate(sorted(sets))}
    chosen, pixels = _render_different(sets, pooled, n_pool)
    print(f"rendered the pool of {len(chosen):,} from {len({p for p, _ in chosen})} sets", flush=True)
    embeddings = _embed(sets, chosen, cache / f"embeddings_{n_pool}")

    held = np.stack([_render(sets, drawing, TRAIN_PIXELS) for drawing in held_out])
    classes = np.repeat(np.arange(len(names)), N_LABELLED + N_TEST)
    is_test = np.tile(np.arange(N_LABELLED + N_TEST) >= N_LABELLED, len(names))
    known = np.concatenate([pixels, held[~is_test]])
    is_copy = np.zeros(len(held), dtype=bool)
    is_copy[is_test] = _nearest_pixels(held[is_test], known) >= NEAR_COPY
    kept = is_test & ~is_copy
    print(f"{is_copy.sum():,} of {is_test.sum():,} test drawings are near copies and left out", flush=True)
    return IconPool(
        pool=pixels,
        embeddings=embeddings,
        pool_sets=np.array([numbers[prefix] for prefix, _ in chosen]),
        labelled=held[~is_test],
        labelled_classes=classes[~is_test],
        test=held[kept],
        test_classes=classes[kept],
        class_drawings=np.array([len(by_name[name]) for name in names]),
    )


def _read_sets(package: Path) -> dict[str, dict[str, Any]]:
    files = sorted((package / "json").glob("*.json"))
    if not files:
        raise SystemExit(
            f"{package} has no json/*.json: give the folder of the unpacked npm package @iconify/json"
        )
    return {path.stem: json.loads(path.read_bytes()) for path in files}


def _shuffle_key(drawing: tuple[str, str]) -> bytes:
    return hashlib.sha256(f"{_ORDER_SEED}:{drawing[0]}:{drawing[1]}".encode()).digest()


def _render(sets: dict[str, dict[str, Any]], drawing: tuple[str, str], pixels: int) -> np.ndarray:
    """A drawing on a white square, uint8 (pixels, pixels, 3). Its own colour, where it has none, is black."""
    icons, icon = sets[drawing[0]], sets[drawing[0]]["icons"][drawing[1]]
    left, top, width, height = (
        icon.get(key, icons.get(key, default))
        for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
    )
    side = max(width, height)
    box = f"{left - (side - width) / 2} {top - (side - height) / 2} {side} {side}"
    svg = f'<svg {_NAMESPACES} viewBox="{box}">{icon["body"]}</svg>'
    png = resvg_py.svg_to_bytes(
        svg_string=svg, width=pixels, height=pixels, background="#ffffff", skip_system_fonts=True
    )
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB"))


def _render_different(
    sets: dict[str, dict[str, Any]], drawings: list[tuple[str, str]], n_pool: int
) -> tuple[list[tuple[str, str]], np.ndarray]:
    """The first drawings whose pixels differ from those of all before, and the pixels."""
    seen, chosen, pixels = set(), [], []
    for drawing in drawings:
        rendered = _render(sets, drawing, TRAIN_PIXELS)
        digest = hashlib.sha256(rendered.tobytes()).digest()
        if digest in seen or rendered.min() == rendered.max():
            continue
        seen.add(digest)
        chosen.append(drawing)
        pixels.append(rendered)
        if len(chosen) == n_pool:
            return chosen, np.stack(pixels)
    raise SystemExit(f"the package has only {len(chosen):,} different drawings: lower --pool")


def _embed(sets: dict[str, dict[str, Any]], drawings: list[tuple[str, str]], folder: Path) -> np.ndarray:
    encoder = build_encoder(BundledEncoderSettings(kind="bundled"))
    folder.mkdir(exist_ok=True)
    parts = []
    for start in range(0, len(drawings), 1000):
        part = folder / f"{start:07d}.npy"
        if not part.exists():
            images = [
                Image.fromarray(_render(sets, drawing, ENCODER_PIXELS))
                for drawing in drawings[start : start + 1000]
            ]
            embedded = np.concatenate(
                [
                    encoder.encode(images[i : i + encoder.window])
                    for i in range(0, len(images), encoder.window)
                ]
            )
            temporary = part.with_suffix(".partial.npy")
            np.save(temporary, embedded)
            temporary.rename(part)
            print(f"embedded {start + len(images):,} of {len(drawings):,}", flush=True)
        parts.append(np.load(part))
    return np.concatenate(parts)


def _nearest_pixels(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Largest cosine of each image to one of the others, after subtracting each image's mean; float32 (n,)."""

    def prepared(pixels: np.ndarray) -> torch.Tensor:
        rows = torch.from_numpy(pixels.reshape(len(pixels), -1)).float()
        return torch.nn.functional.normalize(rows - rows.mean(1, keepdim=True), dim=1)

    known = prepared(others)
    return np.concatenate([(part @ known.T).amax(1).numpy() for part in prepared(images).split(500)])
