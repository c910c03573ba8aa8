from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from curation_assets.steps.ingest.decoded_windows import DecodedWindow, Undecodable
from curation_assets.steps.ingest.encoded_windows import encoded_windows
from curation_assets.steps.ingest.read_ahead import ReadTimes
from curation_assets.steps.ingest.throughput import Throughput
from curation_assets_tests.steps.drawn_pool import MeanColours


class Recording(MeanColours):
    """Writes down when a window is begun and when it is waited for."""

    def __init__(self, n_ahead: int) -> None:
        self.n_ahead = n_ahead
        self.events: list[str] = []

    def begin(self, prepared: Sequence[int]) -> Callable[[], np.ndarray]:
        self.events.append(f"begin {prepared[0]}")

        def wait() -> np.ndarray:
            self.events.append(f"wait {prepared[0]}")
            return np.full((len(prepared), 2), prepared[0], dtype=np.float64)

        return wait

    def count_truncated(self, prepared: Sequence[int]) -> int:
        return prepared[0]


def window(number: int, n: int = 2) -> DecodedWindow:
    rejected = [Undecodable(number, "corrupt_image", "cut")]
    return DecodedWindow(list(range(n)), [number] * n, [], [], rejected)


@pytest.mark.parametrize(
    ("n_ahead", "events"),
    [
        (0, ["begin 1", "wait 1", "begin 2", "wait 2", "begin 3", "wait 3"]),
        (1, ["begin 1", "begin 2", "wait 1", "begin 3", "wait 2", "wait 3"]),
    ],
)
def test_a_card_gets_the_next_window_before_it_is_waited_for(n_ahead, events):
    encoder = Recording(n_ahead)
    windows = [window(1), window(2), window(3), window(4, n=0)]
    found = list(encoded_windows(windows, encoder, Throughput(ReadTimes(), overlapped=True)))
    assert encoder.events == events
    assert [item.window.rejected[0].raw_row for item in found] == [1, 2, 3, 4]
    assert [item.n_truncated for item in found] == [1, 2, 3, 0]
    assert [None if e.embeddings is None else e.embeddings[0, 0] for e in found] == [1, 2, 3, None]
    assert found[0].embeddings is not None
    assert found[0].embeddings.dtype == np.float32
    assert all(not item.window.samples for item in found), "samples of finished windows take no memory"


def test_no_windows_give_none():
    assert list(encoded_windows([], Recording(1), Throughput(ReadTimes(), overlapped=True))) == []
