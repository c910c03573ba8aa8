"""Cuts long texts to the beginning that decides their first tokens."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from curation_assets.encoders.tokenizers import plain_copy

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LEAST_CUT_CHARACTERS = 2**16
"""Shorter texts stay whole."""
# What follows these characters decides no token before them: they are more than normalizers, added tokens and patterns
# of pre-tokenizers look ahead.
_MARGIN = 1024
_CHARACTERS_PER_TOKEN = 8
_FASTER = 4
_GAP_WITHIN = 4096
# How vocabularies write a space: as it is, as byte-level models do, and as SentencePiece does.
_SPACE_INSIDE = re.compile("[^ \u0120\u2581][ \u0120\u2581]")


class TextBeginnings:
    """Cuts texts for a model that reads the first tokens only; those tokens stay the same.

    A beginning suffices if enough tokens lie in words that end before its last word and before its last 1,024
    characters: tokenizers split a text into words from left to right, and make tokens of each word alone. A tokenizer
    that does not split texts into words makes no token across a space unless its vocabulary has one. Where neither
    holds, the text stays whole.

    Args:
        tokenizer: of the model; cuts on the right.
        most_tokens: that the model reads, special tokens included, >= 1.
        prompt: what is put before each text.
    """

    def __init__(self, tokenizer: Tokenizer, most_tokens: int, prompt: str = "") -> None:
        self._tokenizer = plain_copy(tokenizer)
        self._most_tokens, self._prompt = most_tokens, prompt

    def cut(self, text: str) -> str:
        """The text, or a beginning with the same first tokens, and more than the model reads."""
        if len(text) <= LEAST_CUT_CHARACTERS:
            return text
        size = max(_GAP_WITHIN, _CHARACTERS_PER_TOKEN * self._most_tokens) + _MARGIN
        while size < len(text):
            end, is_gap = _end_of_word(text, size)
            if self._suffices(text[:end], is_gap):
                return text[:end]
            size *= _FASTER
        return text

    def _suffices(self, beginning: str, is_gap: bool) -> bool:
        # Libraries strip texts.
        read = (self._prompt + beginning).strip()
        encoding = self._tokenizer.encode(read, add_special_tokens=False)
        words = encoding.word_ids
        last = words[-1] if words else None
        if words and words[0] == last:
            if not (is_gap and self._has_no_token_across_spaces):
                return False
            last = None
        safe = len(read) - _MARGIN
        ends = (end for word, (_, end) in zip(words, encoding.offsets, strict=True) if word != last)
        return sum(end <= safe for end in ends) > self._most_tokens

    @cached_property
    def _has_no_token_across_spaces(self) -> bool:
        return not any(_SPACE_INSIDE.search(token) for token in self._tokenizer.get_vocab())


def _end_of_word(text: str, most: int) -> tuple[int, bool]:
    """Where to cut, at most at `most`: after a word and before a space, if there is such a place nearby."""
    for end in range(most, max(1, most - _GAP_WITHIN), -1):
        if text[end] == " " and not text[end - 1].isspace():
            return end, True
    return most, False
