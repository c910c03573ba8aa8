"""Decodes untrusted texts; a fault becomes a `RejectedSampleError`."""

from __future__ import annotations

import hashlib
import unicodedata

from curation_assets.formats.base import RejectedSampleError, RejectionReason


def decode_text(content: bytes, max_bytes: int) -> str:
    """A text as it is, in any language, without its byte order mark.

    Raises:
        RejectedSampleError: TEXT_TOO_LARGE above `max_bytes`, INVALID_UTF8, or EMPTY_TEXT if it is only white space.
    """
    if len(content) > max_bytes:
        detail = f"{len(content):,} bytes are above the limit of {max_bytes:,}"
        raise RejectedSampleError(RejectionReason.TEXT_TOO_LARGE, detail)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        detail = f"invalid UTF-8 at byte {error.start:,}: {error.reason}"
        raise RejectedSampleError(RejectionReason.INVALID_UTF8, detail) from error
    if not text.strip():
        raise RejectedSampleError(RejectionReason.EMPTY_TEXT, "the text has nothing but white space")
    return text


def normalized_digest(text: str) -> str:
    """SHA-256 of a text after NFKC normalization, case folding and white-space collapsing."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return hashlib.sha256(" ".join(folded.split()).encode("utf-8", errors="surrogatepass")).hexdigest()
