"""Models that turn decoded samples into embeddings; importing this imports none of their libraries."""

from __future__ import annotations

from importlib import import_module

from curation_assets.encoders.base import Encoder
from curation_assets.encoders.packages import require_encoder_packages
from curation_assets.pools import EncoderSettings

__all__ = ["Encoder", "build_encoder"]


def build_encoder(settings: EncoderSettings) -> Encoder:
    """The encoder that a pool's `encoder` settings describe, with its weights loaded.

    Each kind is the module of its name in this folder, which calls its encoder `ENCODER`.

    Raises:
        PoolSpecError: if the device, the model, its package or its weights are missing; the message says which
            and what to do.
    """
    require_encoder_packages(settings)
    encoder: Encoder = import_module(f"{__name__}.{settings.kind}").ENCODER(settings)
    return encoder
