"""Counts the tokens of a long text piece by piece: a tokenizer takes some hundred bytes for each token of a text."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_PIECE = 2**17
_OVERLAP = 2048
_GAP_WITHIN = 4096


def count_in_pieces(tokenizer: Tokenizer, text: str) -> int | None:
    """Tokens of a text without special ones, as if it were read whole; None if pieces cannot be shown to be the same.

    A piece ends before a space, where no token and no word of the tokenizer goes across. It is read together with the
    2,048 characters that follow, and the next piece has to begin with the same tokens as those.

    Args:
        tokenizer: without truncation and padding.
        text: of any length.
    """
    total, begin = 0, 0
    encoding = _read(tokenizer, text, begin)
    while begin + _PIECE + _OVERLAP < len(text):
        end = _space_before(text, begin + _PIECE)
        n_tokens = end and _tokens_before(encoding, end - begin)
        if not n_tokens:
            return None
        stop = _first_ending_after(encoding, end - begin + _OVERLAP // 2)
        following = encoding.ids[n_tokens:stop]
        # Some tokenizers put a space before what they read, others find the one that is there.
        for start in (end, end + 1):
            encoding = _read(tokenizer, text, start)
            if following and encoding.ids[: len(following)] == following:
                break
        else:
            return None
        total, begin = total + n_tokens, start
    return total + len(encoding)


def _read(tokenizer: Tokenizer, text: str, begin: int) -> Encoding:
    return tokenizer.encode(text[begin : begin + _PIECE + _OVERLAP], add_special_tokens=False)


def _space_before(text: str, most: int) -> int:
    """Place of the last space that follows a word, near `most`; 0 if there is none."""
    ends = range(most, max(0, most - _GAP_WITHIN), -1)
    return next((end for end in ends if text[end] == " " and not text[end - 1].isspace()), 0)


def _tokens_before(encoding: Encoding, end: int) -> int:
    """Tokens that end at `end` or before it; 0 if one goes across, or lies in a word that does."""
    n_tokens = _first_ending_after(encoding, end)
    if not 0 < n_tokens < len(encoding):
        return 0
    is_new_word = encoding.token_to_word(n_tokens - 1) != encoding.token_to_word(n_tokens)
    return n_tokens if _place(encoding, n_tokens)[0] >= end and is_new_word else 0


def _first_ending_after(encoding: Encoding, end: int) -> int:
    """Number of the first token that ends after a place; tokens are in the order of the text."""
    return bisect_right(range(len(encoding)), end, key=lambda number: _place(encoding, number)[1])


def _place(encoding: Encoding, number: int) -> tuple[int, int]:
    """First character of a token, and the one after its last."""
    return encoding.token_to_chars(number) or (0, 0)
