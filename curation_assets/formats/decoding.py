"""Decodes a sample's bytes by its modality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from curation_assets.formats.base import RawSample
from curation_assets.pools import SourceSettings
from curation_assets.pools.source import EmbeddingsSource


@dataclass(frozen=True, slots=True)
class SampleFacts:
    """Facts of a sample before it is encoded; None if its modality lacks one."""

    width: int | None = None
    """In pixels, as stored."""
    height: int | None = None
    n_characters: int | None = None
    normalized_sha256: str | None = None
    """Digest of the text without case, compatibility forms and repeated white space."""


def inspect_sample(sample: RawSample, source: SourceSettings) -> SampleFacts:
    """Check a sample by its header (image) or as a whole (text).

    Raises:
        RejectedSampleError: if it cannot be used.
    """
    if isinstance(source, EmbeddingsSource):
        return SampleFacts()
    if source.modality == "text":
        from curation_assets.formats.texts import decode_text, normalized_digest

        text = decode_text(sample.content, source.max_text_bytes)
        return SampleFacts(n_characters=len(text), normalized_sha256=normalized_digest(text))
    from curation_assets.formats.images import read_image_header

    header = read_image_header(sample.content, source.max_image_pixels)
    return SampleFacts(width=header.width, height=header.height)


def decode_sample(
    sample: RawSample,
    source: SourceSettings,
    *,
    before_pixels: Callable[[int], None] | None = None,
    least_side: int | None = None,
) -> Any:
    """The sample as encoders take it: an RGB image (see `decode_image`) or a str.

    Args:
        sample: with its content.
        source: settings of the pool's source.
        before_pixels: see `decode_image`.
        least_side: see `decode_image`.

    Raises:
        RejectedSampleError: if it cannot be decoded.
        ValueError: for a source of embeddings, whose samples have no content.
    """
    if isinstance(source, EmbeddingsSource):
        raise ValueError("a source of embeddings has no content to decode")
    if source.modality == "text":
        from curation_assets.formats.texts import decode_text

        return decode_text(sample.content, source.max_text_bytes)
    from curation_assets.formats.images import decode_image

    return decode_image(
        sample.content, source.max_image_pixels, before_pixels=before_pixels, least_side=least_side
    )
