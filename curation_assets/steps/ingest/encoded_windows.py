"""Windows with their embeddings; a card is never left without the next window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curation_assets.steps.ingest.decoded_windows import DecodedWindow
from curation_assets.steps.ingest.throughput import Throughput

if TYPE_CHECKING:
    from curation_assets.encoders import Encoder


@dataclass(frozen=True, slots=True)
class EncodedWindow:
    """A window whose samples are embedded."""

    window: DecodedWindow
    """Without its samples."""
    embeddings: np.ndarray | None
    """float32 (n, d); None if the window only reports rejections."""
    n_truncated: int
    """Samples that the encoder cut short."""


def encoded_windows(
    windows: Iterable[DecodedWindow], encoder: Encoder, throughput: Throughput
) -> Iterator[EncodedWindow]:
    """Encode windows, in order.

    With `Encoder.n_ahead` 1 a window is queued before the embeddings of the one before are waited for. So the caller
    stages and writes while a card works, and the card waits for neither.

    Args:
        windows: as from `decoded_windows`.
        encoder: of their samples.
        throughput: gets the time of encoding: queueing, and waiting for embeddings.
    """
    begun: deque[tuple[DecodedWindow, Callable[[], np.ndarray] | None, int]] = deque()

    def finished() -> EncodedWindow:
        window, wait, n_truncated = begun.popleft()
        if wait is None:
            return EncodedWindow(window, None, 0)
        with throughput.encoding():
            return EncodedWindow(window, np.asarray(wait(), dtype=np.float32), n_truncated)

    for window in windows:
        if window.samples:
            with throughput.encoding():
                wait = encoder.begin(window.samples)
                n_truncated = encoder.count_truncated(window.samples)
            # The samples are on the card, or encoded.
            begun.append((replace(window, samples=[]), wait, n_truncated))
        else:
            begun.append((window, None, 0))
        if len(begun) > encoder.n_ahead:
            yield finished()
    while begun:
        yield finished()
