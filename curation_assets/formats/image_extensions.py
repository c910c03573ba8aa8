"""Extensions of image files, and their recognition by first bytes."""

from __future__ import annotations

import re

IMAGE_EXTENSIONS = (
    "jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm",
    "jfif", "jpe", "pgm", "pbm", "pnm", "avif",
)  # fmt: skip
"""Of the content of a sample; the first ones win if a sample has several images."""
_MAGIC = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    *((b"P%d" % kind, "ppm") for kind in range(1, 7)),
)
_PORTABLE = re.compile(rb"P[1-6](\s+\d|\s*#)")
_AVIF = (b"ftypavif", b"ftypavis")


def sniff_extension(content: bytes, *, strictly: bool = False, n_bytes: int | None = None) -> str | None:
    """Extension of an image by its first bytes; None if its format is not supported.

    Args:
        content: of the file, or its beginning.
        strictly: to doubt what texts begin with too, for a file whose name says nothing.
        n_bytes: of the whole file, if the content is its beginning.
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content[4:12] in _AVIF:
        return "avif"
    found = next((extension for magic, extension in _MAGIC if content.startswith(magic)), None)
    if strictly and found == "bmp" and int.from_bytes(content[2:6], "little") != (n_bytes or len(content)):
        return None
    if strictly and found == "ppm" and not _PORTABLE.match(content):
        return None
    return found
