"""Pieces of a text have as many tokens as the whole, or are not counted."""

from __future__ import annotations

import numpy as np
import pytest

from curation_assets.encoders import pieces, tokenizers
from curation_assets.encoders.pieces import count_in_pieces
from curation_assets.encoders.tokenizers import FastTokenCounter
from curation_assets_tests.encoders.test_beginnings import KINDS, TEXTS, prose, repeated, tokenizer


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_PIECE", 4_000)
    monkeypatch.setattr(pieces, "_OVERLAP", 512)
    monkeypatch.setattr(pieces, "_GAP_WITHIN", 1_000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TEXTS)
def test_pieces_have_the_tokens_of_the_whole(kind: str, name: str) -> None:
    text = TEXTS[name]()
    count = count_in_pieces(tokenizer(kind), text)
    assert count in (None, len(tokenizer(kind).encode(text, add_special_tokens=False).ids))


@pytest.mark.parametrize("kind", KINDS[:3])
def test_prose_is_counted_in_pieces(kind: str) -> None:
    assert count_in_pieces(tokenizer(kind), repeated(prose())) is not None


@pytest.mark.parametrize("text", ["x" * 20_000, "中" * 20_000, " " * 20_000])
def test_a_text_without_words_is_not(text: str) -> None:
    assert count_in_pieces(tokenizer("word_piece"), text) is None


@pytest.mark.parametrize("special", [False, True])
def test_a_counter_reads_long_texts_in_pieces(special: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a river", repeated(prose()), "x" * 9_000, "", repeated(prose(), 4_001)]
    counter = FastTokenCounter(tokenizer("word_piece"), "it", count_special_tokens=special)
    expected = counter.count(texts)
    monkeypatch.setattr(tokenizers, "_CHUNK_CHARACTERS", 4_000)
    np.testing.assert_array_equal(counter.count(texts), expected)
