"""The base class of encoders, and what their libraries' errors become."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from curation_assets.errors import PoolSpecError

if TYPE_CHECKING:
    import numpy as np


class Encoder(ABC):
    """Turns decoded samples of one modality into embeddings.

    A subclass imports its library inside its methods; its module calls it `ENCODER` (see `build_encoder`).

    `encode(samples)` equals `encode_prepared([prepare(sample) for sample in samples])`. Callers prepare samples in
    other threads while earlier ones are encoded, and then hold prepared samples instead of whole images.
    """

    dimension: int
    """Length d of an embedding."""
    identity: dict[str, str]
    """What fixes the embeddings: model, weights (their digest), preprocessing, library version, and the precision that
    'auto' chose."""
    window: int
    """Samples that one call of `encode` should get: a batch, or many batches if the encoder sorts samples."""

    @abstractmethod
    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embed samples.

        Args:
            samples: RGB images of any size, which the encoder resizes and normalises; or texts.

        Returns:
            float32 array of shape (len(samples), dimension), not normalised.
        """

    def prepare(self, sample: Any) -> Any:
        """The form of a sample that `encode_prepared` takes; called by several threads at a time."""
        return sample

    def encode_prepared(self, prepared: Sequence[Any]) -> np.ndarray:
        """As `encode`, to the last bit, for samples that went through `prepare`."""
        return self.encode(prepared)

    least_side: int | None = None
    """Pixels that both sides of an image keep if its JPEG is decoded at a smaller size; None decodes it whole."""
    n_ahead: int = 0
    """Windows that a caller should begin before it waits for the first: 1 if a card works while the caller goes on."""

    def begin(self, prepared: Sequence[Any]) -> Callable[[], np.ndarray]:
        """Begin to encode a window; the function that is returned waits, and gives what `encode_prepared` would.

        An encoder on a card returns when the work is queued. Others encode at once.
        """
        embeddings = self.encode_prepared(prepared)
        return lambda: embeddings

    def count_truncated(self, prepared: Sequence[Any]) -> int:
        """Number of samples that `encode_prepared` cuts short."""
        return 0


@contextmanager
def library_errors(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a library raises while it loads a model into a `PoolSpecError`.

    Any exception: what a failed download or a bad file raises changes with the libraries and their versions. `what`
    names the setting, its value and what failed; `remedy` is what the user can do.
    """
    try:
        yield
    except Exception as error:
        raise PoolSpecError(f"{what} ({error}): {remedy}") from error


def require_known_model(
    model: str, *, known: bool, library: str, listing: str, names: Callable[[], Collection[str]]
) -> None:
    """Refuse a model that its library does not know.

    Args:
        model: of the settings.
        known: whether the library lists it. A name such as hf-hub:owner/name passes: only the hub knows it.
        library: its name and version.
        listing: call that lists its models.
        names: the same models, of which the message names those that are spelt alike.

    Raises:
        PoolSpecError: naming the model and the remedy.
    """
    if not known and ":" not in model:
        near = get_close_matches(model, names(), n=3)
        choice = (
            f"did you mean {' or '.join(near)}? All are in {listing}" if near else f"choose one of {listing}"
        )
        raise PoolSpecError(f"encoder.model: {library} has no model '{model}': {choice}")
