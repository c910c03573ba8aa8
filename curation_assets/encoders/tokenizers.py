"""Counts the tokens of texts: with a Hugging Face tokenizer, or as words or bytes."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation_assets.encoders.base import library_errors
from curation_assets.encoders.local_models import find_local_folder
from curation_assets.encoders.packages import require_modules
from curation_assets.encoders.pieces import count_in_pieces
from curation_assets.errors import PoolSpecError
from curation_assets.pools import EncoderSettings, SentenceTransformersEncoderSettings

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_MODEL_FILES = ("modules.json", "config_sentence_transformers.json", *_TOKENIZER_FILES)
# The tokenizer keeps about 100 bytes per token, so the tokens of a chunk take at most about 100 MB.
_CHUNK_CHARACTERS = 2**20


class TokenCounter(ABC):
    """Counts the tokens of whole texts, without special tokens such as [CLS]."""

    identity: dict[str, str]
    """What fixes the counts."""

    @abstractmethod
    def count(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each text, whatever its length: int64 array of shape (len(texts),)."""


class WordCounter(TokenCounter):
    """Counts words separated by white space; unsuitable for languages that do not separate words."""

    identity = {"kind": "words"}  # noqa: RUF012

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """See `TokenCounter.count`."""
        return np.fromiter((len(text.split()) for text in texts), dtype=np.int64, count=len(texts))


class ByteCounter(TokenCounter):
    """Counts the bytes of a text as UTF-8."""

    identity = {"kind": "utf8_bytes"}  # noqa: RUF012

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """See `TokenCounter.count`."""
        sizes = (len(text.encode("utf-8", errors="surrogatepass")) for text in texts)
        return np.fromiter(sizes, dtype=np.int64, count=len(texts))


class FastTokenCounter(TokenCounter):
    """Counts tokens with a fast Hugging Face tokenizer, on all cores.

    Args:
        tokenizer: copied, so that the original keeps its truncation and padding.
        name: recorded in `identity`.
        count_special_tokens: also count the tokens that the tokenizer adds around a text.
    """

    def __init__(self, tokenizer: Tokenizer, name: str, *, count_special_tokens: bool = False) -> None:
        self._tokenizer = plain_copy(tokenizer)
        self._special = count_special_tokens
        self.identity = {"kind": "hugging_face", "name": name, "tokenizer_sha256": digest(self._tokenizer)}

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """See `TokenCounter.count`; about 100 MB besides the texts. A text of a million characters is read in pieces.

        If a tokenizer's pieces differ from the whole, it is read whole.
        """
        counts = np.empty(len(texts), dtype=np.int64)
        for first, last in _chunks(texts):
            if last - first == 1 and (count := self._count_long(texts[first])) is not None:
                counts[first] = count
                continue
            encodings = self._tokenizer.encode_batch_fast(
                list(texts[first:last]), add_special_tokens=self._special
            )
            counts[first:last] = [len(encoding) for encoding in encodings]
        return counts

    def _count_long(self, text: str) -> int | None:
        """Tokens of a text of more than `_CHUNK_CHARACTERS`; None for others, and where it has to be read whole."""
        if len(text) <= _CHUNK_CHARACTERS:
            return None
        count = count_in_pieces(self._tokenizer, text)
        special = self._tokenizer.num_special_tokens_to_add(False) if self._special else 0
        return None if count is None else count + special


def build_tokenizer(name: str | None, encoder: EncoderSettings | None = None) -> TokenCounter:
    """The counter that a pool's `tokenizer` setting describes.

    Args:
        name: 'words', 'utf8_bytes', or a Hugging Face tokenizer: a folder, an installed package that contains
            one, or a name on the hub. None takes the tokenizer of `encoder`, without loading its weights.
        encoder: the pool's encoder.

    Raises:
        PoolSpecError: if the tokenizer does not exist, is not available, or has no fast form.
    """
    if name == "words":
        return WordCounter()
    if name == "utf8_bytes":
        return ByteCounter()
    if name is not None:
        folder = find_local_folder(name, _TOKENIZER_FILES, setting="tokenizer")
        return FastTokenCounter(_load(name, folder, "tokenizer"), name)
    if not isinstance(encoder, SentenceTransformersEncoderSettings):
        kind = f"encoder.kind '{encoder.kind}'" if encoder else "a pool without encoder"
        raise PoolSpecError(
            f"tokenizer is not set, and {kind} has no tokenizer: set tokenizer to 'words', 'utf8_bytes' or the name "
            f"of a Hugging Face tokenizer"
        )
    model = find_local_folder(encoder.model, _MODEL_FILES, setting="encoder.model")
    folder = model and _tokenizer_folder(model, encoder.model)
    return FastTokenCounter(_load(encoder.model, folder, "encoder.model"), encoder.model)


def fast_form(tokenizer: Any) -> Tokenizer | None:
    """The fast tokenizer of a transformers tokenizer, or the argument if it is one; None without one."""
    from tokenizers import Tokenizer

    inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
    return inner if isinstance(inner, Tokenizer) else None


def digest(tokenizer: Tokenizer) -> str:
    """The sha256, in hexadecimal, of a tokenizer's vocabulary and rules, without truncation and padding."""
    return hashlib.sha256(plain_copy(tokenizer).to_str().encode()).hexdigest()


def plain_copy(tokenizer: Tokenizer) -> Tokenizer:
    """A copy without truncation and padding."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _tokenizer_folder(model: Path, name: str) -> Path:
    """Folder of the tokenizer in a sentence-transformers model: the top folder, or that of the first module."""
    folders = [model]
    if (model / "modules.json").is_file():
        modules = json.loads((model / "modules.json").read_text(encoding="utf-8"))
        folders += [model / module.get("path", "") for module in modules[:1]]
    for folder in folders:
        if any((folder / marker).is_file() for marker in _TOKENIZER_FILES):
            return folder
    raise PoolSpecError(
        f"encoder.model '{name}' has no Hugging Face tokenizer: set tokenizer to 'words', 'utf8_bytes' or the "
        f"name of one"
    )


def _load(name: str, folder: Path | None, setting: str) -> Tokenizer:
    require_modules(f"{setting} is '{name}', whose tokenizer", ("tokenizers", "transformers"))
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    remedy = "check the name and the network, install a package that contains it, or give the folder of a saved one"
    with library_errors(f"{setting} '{name}': its tokenizer cannot be loaded", remedy):
        if folder is not None and (folder / "tokenizer.json").is_file():
            return Tokenizer.from_file(str(folder / "tokenizer.json"))
        loaded = AutoTokenizer.from_pretrained(str(folder or name), local_files_only=folder is not None)
    fast = fast_form(loaded)
    if fast is None:
        raise PoolSpecError(
            f"{setting} '{name}' has no fast tokenizer (tokenizer.json): choose one that has it"
        )
    return fast


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive texts with at most `_CHUNK_CHARACTERS` together, or a single text."""
    first, size = 0, 0
    for i, text in enumerate(texts):
        if size and size + len(text) > _CHUNK_CHARACTERS:
            yield first, i
            first, size = i, 0
        size += len(text)
    if first < len(texts):
        yield first, len(texts)
