"""Extensions of image files, and their recognition by first bytes."""

from __future__ import annotations

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm")
_MAGIC = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    *((b"P%d" % kind, "ppm") for kind in range(1, 7)),
)


def sniff_extension(content: bytes) -> str | None:
    """Extension of an image by its first bytes; None if its format is not supported."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return next((extension for magic, extension in _MAGIC if content.startswith(magic)), None)
