"""The seam for encoders: a model that turns decoded samples into embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class Encoder(ABC):
    """Turns decoded samples of one modality into embeddings.

    A new encoder subclasses this, imports its library inside its methods, and is added to `build_encoder`.

    `encode(samples)` is `encode_prepared` of what `prepare` makes of each: whoever has threads to spare prepares
    samples in them while earlier ones are encoded, and need not hold whole images until their turn comes.
    """

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Length d of an embedding."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, str]:
        """What fixes the embeddings: model, weights (their digest), preprocessing, library version."""

    @property
    @abstractmethod
    def window(self) -> int:
        """Samples that one call of `encode` should get: a batch, or many for an encoder that sorts them."""

    @abstractmethod
    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embed samples.

        Args:
            samples: RGB images of any size, which the encoder resizes and normalises; or texts.

        Returns:
            float32 array of shape (len(samples), dimension), not normalised.
        """

    def prepare(self, sample: Any) -> Any:
        """What of a decoded sample `encode_prepared` needs; may be called by several threads at a time."""
        return sample

    def encode_prepared(self, prepared: Sequence[Any]) -> np.ndarray:
        """As `encode`, to the last bit, of samples that went through `prepare` one by one."""
        return self.encode(prepared)

    def count_truncated(self, prepared: Sequence[Any]) -> int:
        """How many of the samples `encode_prepared` sees only the beginning of."""
        return 0
