"""The seam for encoders: a model that turns decoded samples into embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


class Encoder(ABC):
    """Turns a batch of decoded images into embeddings.

    A new encoder subclasses this, imports its library inside its methods, and is added to `build_encoder`.
    """

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Length d of an embedding."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, str]:
        """What fixes the embeddings: model, weights (their digest), preprocessing, library version."""

    @abstractmethod
    def encode(self, images: Sequence[Image]) -> np.ndarray:
        """Embed RGB images.

        Args:
            images: decoded RGB images of any size; the encoder resizes and normalises them.

        Returns:
            float32 array of shape (len(images), dimension), not normalised.
        """
