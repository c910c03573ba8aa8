"""Each encoder asks for its packages only, and names the extra that brings a missing one."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from curation_assets.encoders import build_encoder, packages
from curation_assets.encoders.tokenizers import build_tokenizer
from curation_assets.errors import PoolSpecError
from curation_assets.pools import (
    BundledEncoderSettings,
    OpenClipEncoderSettings,
    SentenceTransformersEncoderSettings,
    TimmEncoderSettings,
)
from curation_assets.pools.encoder import ENCODERS

SETTINGS = [
    (BundledEncoderSettings(kind="bundled"), "timm", "images"),
    (TimmEncoderSettings(kind="timm", model="resnet18"), "timm", "images"),
    (
        OpenClipEncoderSettings(kind="open_clip", model="ViT-S-32-alt", pretrained=None),
        "open_clip_torch",
        "images",
    ),
    (
        SentenceTransformersEncoderSettings(kind="sentence_transformers", model="any"),
        "sentence-transformers",
        "text",
    ),
]


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda _: None)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(("settings", "package", "extra"), SETTINGS, ids=lambda value: str(value)[:20])
def test_a_missing_package_is_named_with_the_command_that_installs_it(settings, package, extra):
    with pytest.raises(PoolSpecError) as caught:
        build_encoder(settings)
    assert f"encoder.kind is '{settings.kind}'" in str(caught.value)
    assert f"needs the package {package}," in str(caught.value)
    assert f"pip install 'curation-assets[{extra}]'" in str(caught.value)


@pytest.mark.usefixtures("nothing_installed")
def test_tokens_of_a_model_need_its_packages_and_words_need_none():
    with pytest.raises(PoolSpecError, match=r"tokenizer is 'gpt2'.*curation-assets\[text\]"):
        build_tokenizer("gpt2")
    assert build_tokenizer("words").count(["two words"]).tolist() == [2]


def test_every_kind_of_encoder_is_known_and_the_extras_bring_its_packages():
    assert set(packages._MODULES) == set(ENCODERS)
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for extra in packages._EXTRAS:
        listed = " ".join(project["optional-dependencies"][extra])
        # sentence-transformers brings transformers, and that tokenizers.
        needed = {packages._EXTRAS[extra][name] for name in packages._EXTRAS[extra]} - {
            "transformers",
            "tokenizers",
        }
        assert all(name in listed for name in needed)
        assert not any(name in " ".join(project["dependencies"]) for name in needed)


def test_the_check_imports_nothing():
    before = {name for name in ("timm", "open_clip") if name in sys.modules}
    packages.require_encoder_packages(OpenClipEncoderSettings(kind="open_clip", model="any", pretrained=None))
    assert {name for name in ("timm", "open_clip") if name in sys.modules} == before
