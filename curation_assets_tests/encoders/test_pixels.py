from __future__ import annotations

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from torchvision import transforms

from curation_assets.encoders.pixels import PixelPipeline, least_side
from curation_assets.encoders.timm import TimmEncoder
from curation_assets.errors import PoolSpecError
from curation_assets.pools import TimmEncoderSettings
from curation_assets.pools.encoder import decisive_settings


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(300, 200), (40, 500), (224, 224)]
    return [
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in sizes
    ]


PREPROCESSINGS = {
    "timm": timm.data.create_transform((3, 96, 96), is_training=False, interpolation="bicubic"),
    "open_clip": open_clip.image_transform(96, is_train=False),
}


@pytest.mark.parametrize("preprocess", PREPROCESSINGS.values(), ids=PREPROCESSINGS)
def test_both_parts_together_are_the_preprocessing_to_the_last_bit(preprocess, images):
    pipeline = PixelPipeline.of(preprocess)
    assert pipeline is not None
    pixels = np.stack([pipeline.bytes_of(image) for image in images])
    assert (pixels.dtype, pixels.shape) == (np.uint8, (3, 96, 96, 3))
    found = pipeline.normaliser("cpu")(torch.from_numpy(pixels))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, torch.stack([preprocess(image) for image in images]))


def test_every_byte_becomes_the_same_number():
    steps = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    preprocess = transforms.Compose([transforms.CenterCrop(16), *steps])
    image = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2))
    pipeline = PixelPipeline.of(preprocess)
    assert pipeline is not None
    found = pipeline.normaliser("cpu")(torch.from_numpy(pipeline.bytes_of(image))[None])
    assert torch.equal(found[0], preprocess(image))


@pytest.mark.parametrize(
    "preprocess",
    [
        lambda image: transforms.functional.to_tensor(image),
        transforms.Compose([transforms.ToTensor()]),
        transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5), transforms.Resize(8)]),
        transforms.Compose([transforms.Grayscale(), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]),
        transforms.Compose([transforms.PILToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]),
    ],
)
def test_other_preprocessing_stays_whole(preprocess):
    assert PixelPipeline.of(preprocess) is None


@pytest.mark.parametrize(
    ("step", "least"),
    [
        (transforms.Resize(256), 384),
        (transforms.Resize((224, 225)), 338),
        (timm.data.transforms.ResizeKeepRatio((96, 96)), 144),
    ],
)
def test_jpegs_may_be_decoded_at_one_and_a_half_times_what_the_model_asks_for(step, least):
    preprocess = transforms.Compose([step, transforms.CenterCrop(64), transforms.ToTensor()])
    assert least_side(preprocess, "m") == least


def test_preprocessing_without_a_size_cannot_be_scaled():
    with pytest.raises(PoolSpecError, match=r"encoder\.jpeg_decoding.*'some_vit'.*set whole"):
        least_side(transforms.Compose([transforms.CenterCrop(64)]), "some_vit")


def test_scaled_decoding_is_part_of_the_identity_and_of_the_fingerprint():
    def settings(**changes) -> TimmEncoderSettings:
        values = {"kind": "timm", "model": "test_vit", "pretrained": False, "device": "cpu", **changes}
        return TimmEncoderSettings(**values)

    whole, scaled = TimmEncoder(settings()), TimmEncoder(settings(jpeg_decoding="scaled"))
    assert (whole.least_side, scaled.least_side) == (None, 252)
    assert scaled.identity == {**whole.identity, "jpeg_decoding": "scaled to no less than 252"}
    assert decisive_settings(settings(jpeg_decoding="whole")) == decisive_settings(settings())
    assert decisive_settings(settings(jpeg_decoding="scaled")) != decisive_settings(settings())
