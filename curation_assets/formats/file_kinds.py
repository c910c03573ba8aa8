"""What a file is that is no image, in words that are the same wherever and whenever it is read."""

from __future__ import annotations

_SHOWN_BYTES = 16
# Offset, bytes, what begins so.
_KNOWN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"<!doctype", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"<svg", "SVG, which is not decoded"),
    (0, b"<?xml", "XML or SVG, which is not decoded"),
    (0, b"version https://git-lfs", "a pointer of Git LFS: fetch the file with git lfs pull"),
    (0, b"%pdf", "PDF, which is not decoded"),
    (0, b"%!ps", "PostScript, which is not decoded"),
    (0, b"8bps", "a Photoshop document, which is not decoded"),
    (0, b"pk\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "compressed with gzip"),
    (0, b"\xff\x0a", "JPEG XL, which is not decoded"),
    (4, b"jxl \r\n\x87\n", "JPEG XL, which is not decoded"),
    (4, b"jp  \r\n\x87\n", "JPEG 2000, which is not decoded"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000, which is not decoded"),
    (4, b"ftypavi", "AVIF, which the installed Pillow does not decode"),
    (4, b"ftyphei", "HEIC, which is not decoded"),
    (4, b"ftypmif1", "HEIC, which is not decoded"),
    (4, b"ftyp", "a video of the MP4 family"),
    (0, b"\x1a\x45\xdf\xa3", "a video of the Matroska family"),
    (0, b"\x93numpy", "an array of numpy"),
    (0, b"{", "JSON or another text"),
    (0, b"[", "JSON or another text"),
)


def what_begins_so(content: bytes) -> str:
    """What the first bytes of a file show: `begins with b'<!DOCTYPE html>': a web page`."""
    stripped = content[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    shown = f"begins with {content[:_SHOWN_BYTES]!r}"
    if not content.strip(b"\0"):
        return f"{len(content):,} bytes, all of them zero"
    for offset, magic, name in _KNOWN:
        if content[offset : offset + len(magic)].lower() == magic if offset else stripped.startswith(magic):
            return f"{shown}: {name}"
    return f"{shown}: no image format that is decoded"
