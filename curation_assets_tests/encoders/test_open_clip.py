from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch

from curation_assets.encoders.open_clip import OpenClipEncoder
from curation_assets.errors import PoolSpecError
from curation_assets.pools import OpenClipEncoderSettings

MODEL = "ViT-S-32-alt"


def settings(**changes) -> OpenClipEncoderSettings:
    values = {"kind": "open_clip", "model": MODEL, "pretrained": None, "batch_size": 4, "device": "cpu"}
    return OpenClipEncoderSettings(**(values | changes))


@pytest.fixture(scope="module")
def encoder() -> OpenClipEncoder:
    torch.manual_seed(0)
    return OpenClipEncoder(settings())


def test_embeddings_are_those_of_encode_image(encoder, emoji_images):
    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms(MODEL, pretrained=None)
    model.eval()
    with torch.inference_mode():
        expected = model.encode_image(torch.stack([transform(image) for image in emoji_images[:4]])).numpy()
    found = encoder.encode(emoji_images[:4])
    assert found.dtype == np.float32
    assert found.shape == (4, encoder.dimension) == (4, 256)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_deterministic_and_hardly_dependent_on_the_batch(encoder, emoji_images):
    together = encoder.encode(emoji_images)
    np.testing.assert_array_equal(together, encoder.encode(emoji_images))
    alone = np.concatenate([encoder.encode([image]) for image in emoji_images])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-5 * np.abs(together).max())


def test_identity_follows_the_weights_and_holds_no_addresses(encoder, tmp_path):
    torch.manual_seed(1)
    same = OpenClipEncoder(settings()).identity
    assert same == encoder.identity, "random weights are the same in every process"
    assert "0x" not in same["preprocessing"]
    torch.manual_seed(1)
    other = open_clip.create_model(settings().model, pretrained=None)
    torch.save(other.state_dict(), tmp_path / "other.pt")
    found = OpenClipEncoder(settings(pretrained=str(tmp_path / "other.pt"))).identity
    assert found["weights_sha256"] != same["weights_sha256"]


def test_unknown_model_is_named():
    with pytest.raises(PoolSpecError, match=r"ViT-XXL.*open_clip\.list_models"):
        OpenClipEncoder(settings(model="ViT-XXL"))


def test_unknown_weights_are_named():
    with pytest.raises(PoolSpecError, match=r"no_such_tag.*open_clip\.list_pretrained"):
        OpenClipEncoder(settings(pretrained="no_such_tag"))


def test_bfloat16_is_close_and_says_so(encoder, emoji_images):
    half = OpenClipEncoder(settings(precision="bfloat16"))
    assert half.identity == {**encoder.identity, "precision": "bfloat16"}
    found, exact = half.encode(emoji_images), encoder.encode(emoji_images)
    cosines = (found * exact).sum(axis=1) / (np.linalg.norm(found, axis=1) * np.linalg.norm(exact, axis=1))
    assert cosines.min() > 0.999
    assert not np.array_equal(found, exact)
