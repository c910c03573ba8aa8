"""Small pools made on the spot."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from upath import UPath

from curation_assets.formats.base import RawSample, Rejection
from curation_assets.formats.webdataset import WebDatasetReader
from curation_assets.pools.source import WebDatasetSource

Members = Iterable[tuple[str, bytes]]


def image_bytes(color="red", size=(8, 6), image_format="PNG", mode="RGB", **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, image_format, **options)
    return buffer.getvalue()


def tar_bytes(members: Members, *, tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


def read_bytes(folder: Path, content: bytes, name: str = "0.tar") -> list[RawSample | Rejection]:
    return read_source(folder, content, WebDatasetSource(path=""), name)


def read_source(
    folder: Path, content: bytes, source: WebDatasetSource, name: str = "0.tar"
) -> list[RawSample | Rejection]:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return list(WebDatasetReader(UPath(folder), source).read(name))


def summary(results: Iterable[RawSample | Rejection]) -> list[str]:
    """One line each: the sample's id, with the reason if it is rejected."""
    return [
        result.sample_id if isinstance(result, RawSample) else f"{result.sample_id}: {result.reason}"
        for result in results
    ]
