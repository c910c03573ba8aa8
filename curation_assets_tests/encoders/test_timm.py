from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch

from curation_assets.encoders.timm import TimmEncoder
from curation_assets.errors import PoolSpecError
from curation_assets.pools import TimmEncoderSettings

MODEL = "test_efficientnet"  # timm's own test model: 0.4 M parameters at 160 px


def settings(**changes) -> TimmEncoderSettings:
    values = {"kind": "timm", "model": MODEL, "pretrained": False, "batch_size": 4, "device": "cpu"}
    return TimmEncoderSettings(**(values | changes))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    torch.save(timm.create_model(MODEL, pretrained=False).state_dict(), path)  # with its classifier
    return path


def test_checkpoint_gives_the_features_of_the_model_it_was_saved_from(checkpoint, emoji_images):
    encoder = TimmEncoder(settings(checkpoint=str(checkpoint), pretrained=True))
    model = timm.create_model(MODEL, pretrained=False, num_classes=0).eval()
    weights = torch.load(checkpoint, weights_only=True)
    model.load_state_dict({name: w for name, w in weights.items() if not name.startswith("classifier.")})
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.inference_mode():
        expected = model(torch.stack([transform(image) for image in emoji_images[:4]])).numpy()
    found = encoder.encode(emoji_images[:4])
    assert found.dtype == np.float32
    assert found.shape == (4, encoder.dimension)
    np.testing.assert_array_equal(found, expected)


def test_deterministic_and_hardly_dependent_on_the_batch(checkpoint, emoji_images):
    encoder = TimmEncoder(settings(checkpoint=str(checkpoint)))
    together = encoder.encode(emoji_images)
    np.testing.assert_array_equal(together, encoder.encode(emoji_images))
    alone = np.concatenate([encoder.encode([image]) for image in emoji_images])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-5 * np.abs(together).max())


def test_identity_follows_the_weights(checkpoint):
    first = TimmEncoder(settings(checkpoint=str(checkpoint))).identity
    assert first == TimmEncoder(settings(checkpoint=str(checkpoint), batch_size=2)).identity
    torch.manual_seed(1)
    assert first["weights_sha256"] != TimmEncoder(settings()).identity["weights_sha256"]
    assert json.loads(first["preprocessing"])["input_size"] == [3, 160, 160]


def test_unknown_model_is_named():
    with pytest.raises(PoolSpecError, match=r"no_such_vit.*timm\.list_models"):
        TimmEncoder(settings(model="no_such_vit"))


def test_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(PoolSpecError, match=r"gone\.pth' does not exist"):
        TimmEncoder(settings(checkpoint=str(tmp_path / "gone.pth")))


def test_unreadable_checkpoint_is_named(tmp_path):
    path = tmp_path / "bad.pth"
    path.write_bytes(b"not weights")
    with pytest.raises(PoolSpecError, match=r"bad\.pth' does not fit"):
        TimmEncoder(settings(checkpoint=str(path)))


def test_incomplete_checkpoint_is_refused_rather_than_filled_with_random_weights(checkpoint, tmp_path):
    weights = torch.load(checkpoint, weights_only=True)
    del weights["conv_stem.weight"]
    torch.save(weights, tmp_path / "partial.pth")
    with pytest.raises(PoolSpecError, match=r"missing: \['conv_stem\.weight'\]"):
        TimmEncoder(settings(checkpoint=str(tmp_path / "partial.pth")))


def test_failed_download_names_the_remedy(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(PoolSpecError, match=r"no network.*encoder\.checkpoint"):
        TimmEncoder(settings(pretrained=True))


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, None)])
def test_auto_takes_bfloat16_where_it_is_native(monkeypatch, checkpoint, native, expected):
    monkeypatch.setattr("curation_assets.encoders.precision.multiplies_bfloat16", lambda _: native)
    encoder = TimmEncoder(settings(checkpoint=str(checkpoint), precision="auto"))
    assert encoder.identity.get("precision") == expected


def test_float16_is_closer_than_bfloat16_and_says_so(checkpoint, emoji_images):
    found = {
        precision: TimmEncoder(settings(checkpoint=str(checkpoint), precision=precision))
        for precision in ("float32", "bfloat16", "float16")
    }
    assert found["float16"].identity == {**found["float32"].identity, "precision": "float16"}
    rows = {precision: encoder.encode(emoji_images) for precision, encoder in found.items()}
    assert rows["float16"].dtype == np.float32
    off = {precision: np.abs(block - rows["float32"]).max() for precision, block in rows.items()}
    assert 0 < off["float16"] < off["bfloat16"] / 3
