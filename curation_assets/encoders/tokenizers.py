"""Counts the tokens of texts, for targets in tokens."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from curation_assets.encoders.installed_models import local_model_folder
from curation_assets.errors import PoolSpecError

if TYPE_CHECKING:
    import numpy as np

    from curation_assets.pools import EncoderSettings

WORDS, UTF8_BYTES = "words", "utf8_bytes"


class TokenCounter(ABC):
    """Counts tokens; special ones that a model would add are not counted."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, str]:
        """What fixes the counts."""

    @abstractmethod
    def count(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each text, int64 (len(texts),)."""


class WordCounter(TokenCounter):
    """Counts what white space separates: of use for languages that have it."""

    @property
    def identity(self) -> dict[str, str]:
        """The rule."""
        return {"tokenizer": WORDS}

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """See `TokenCounter.count`."""
        import numpy as np

        return np.array([len(text.split()) for text in texts], dtype=np.int64)


class ByteCounter(TokenCounter):
    """Counts the bytes of UTF-8, for models that read bytes."""

    @property
    def identity(self) -> dict[str, str]:
        """The rule."""
        return {"tokenizer": UTF8_BYTES}

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """See `TokenCounter.count`."""
        import numpy as np

        return np.array([len(text.encode()) for text in texts], dtype=np.int64)


class ModelTokenizer(TokenCounter):
    """A Hugging Face tokenizer.

    Args:
        name: on the hub, a folder, or an installed package that carries one.

    Raises:
        PoolSpecError: if it cannot be had.
    """

    def __init__(self, name: str) -> None:
        import transformers

        folder = local_model_folder(name)
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(folder or name), local_files_only=folder is not None
            )
        except Exception as error:
            # Broad, because what a failed download raises changes with the version of the hub's client.
            raise PoolSpecError(
                f"tokenizer '{name}' could not be loaded ({error}): give a name on the hub, a folder, an installed "
                f"package that carries one, '{WORDS}' or '{UTF8_BYTES}'"
            ) from error
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        content = backend.to_str() if backend is not None else repr(self._tokenizer)
        self._identity = {
            "tokenizer": name,
            "vocabulary_sha256": hashlib.sha256(content.encode()).hexdigest(),
            "library": f"transformers {transformers.__version__}",
        }

    @property
    def identity(self) -> dict[str, str]:
        """Name, digest of vocabulary and rules, library version."""
        return dict(self._identity)

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """See `TokenCounter.count`; long texts are not cut."""
        return count_tokens_with(self._tokenizer, texts, special_tokens=False)


def build_token_counter(name: str | None, encoder: EncoderSettings | None) -> TokenCounter:
    """The counter that a pool's `tokenizer` names; without a name that of its text encoder.

    Raises:
        PoolSpecError: if the tokenizer cannot be had, or there is neither a name nor an encoder.
    """
    if name == WORDS:
        return WordCounter()
    if name == UTF8_BYTES:
        return ByteCounter()
    chosen = name or (encoder.model if encoder else None)
    if chosen is None:
        raise PoolSpecError(f"tokenizer is missing: name one, or '{WORDS}' or '{UTF8_BYTES}'")
    return ModelTokenizer(chosen)


def count_tokens_with(tokenizer: Any, texts: Sequence[str], *, special_tokens: bool) -> np.ndarray:
    """Tokens of each text by a Hugging Face tokenizer, int64 (len(texts),), nothing cut or padded."""
    import numpy as np

    if not len(texts):
        return np.zeros(0, dtype=np.int64)
    encoded = tokenizer(
        list(texts),
        add_special_tokens=special_tokens,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        # Otherwise it warns of texts that are longer than its model reads, which is what is asked.
        verbose=False,
    )
    return np.array([len(ids) for ids in encoded["input_ids"]], dtype=np.int64)
