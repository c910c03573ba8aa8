"""Models that turn decoded samples into embeddings; importing this imports none of their libraries."""

from __future__ import annotations

from curation_assets.encoders.base import Encoder
from curation_assets.encoders.device import resolve_device
from curation_assets.pools import (
    BundledEncoderSettings,
    EncoderSettings,
    OpenClipEncoderSettings,
    SentenceTransformersEncoderSettings,
    TimmEncoderSettings,
)

__all__ = ["Encoder", "build_encoder", "resolve_device"]


def build_encoder(settings: EncoderSettings) -> Encoder:
    """The encoder that a pool's `encoder` settings describe, with its weights loaded.

    Raises:
        PoolSpecError: if the device, the model, its package or its weights are missing; the message says
            which and what to do.
    """
    match settings:
        case BundledEncoderSettings():
            from curation_assets.encoders.bundled import BundledEncoder

            return BundledEncoder(settings)
        case TimmEncoderSettings():
            from curation_assets.encoders.timm import TimmEncoder

            return TimmEncoder(settings)
        case OpenClipEncoderSettings():
            from curation_assets.encoders.open_clip import OpenClipEncoder

            return OpenClipEncoder(settings)
        case SentenceTransformersEncoderSettings():
            from curation_assets.encoders.sentence_transformers import SentenceTransformersEncoder

            return SentenceTransformersEncoder(settings)
