"""Any text model of sentence-transformers as an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from curation_assets.encoders.base import Encoder
from curation_assets.encoders.device import resolve_device

if TYPE_CHECKING:
    import numpy as np

    from curation_assets.pools import SentenceTransformersEncoderSettings


class SentenceTransformersEncoder(Encoder):
    """A SentenceTransformer in evaluation mode."""

    def __init__(self, settings: SentenceTransformersEncoderSettings) -> None:
        from sentence_transformers import SentenceTransformer

        self._settings = settings
        self._model = SentenceTransformer(settings.model, device=resolve_device(settings.device))

    @property
    def dimension(self) -> int:
        """Length d of an embedding."""
        return int(self._model.get_sentence_embedding_dimension() or 0)

    @property
    def identity(self) -> dict[str, str]:
        """What fixes the embeddings."""
        return {"kind": self._settings.kind, "model": self._settings.model}

    @property
    def window(self) -> int:
        """Many batches: the model sorts them by length."""
        return 64 * self._settings.batch_size

    def encode(self, samples: Sequence[str]) -> np.ndarray:
        """See `Encoder.encode`."""
        return self._model.encode(list(samples), batch_size=self._settings.batch_size, convert_to_numpy=True)
