"""Threads share the memory of decoded images."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.steps.ingest.pixel_room import BYTES_PER_PIXEL, PixelRoom


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12), most=st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_no_more_pixels_are_held_than_there_is_room_for_but_one_image(sizes: list[int], most: int) -> None:
    room, lock, held, peak = PixelRoom(most * BYTES_PER_PIXEL), threading.Lock(), [], []

    def decode(size: int) -> int:
        with room.place() as take:
            take(size)
            with lock:
                held.append(size)
                peak.append((sum(held), len(held)))
            with lock:
                held.remove(size)
        return size

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(decode, sizes)) == sizes
    assert all(total <= most or n_images == 1 for total, n_images in peak)


def test_an_error_gives_the_room_back_and_a_text_needs_none() -> None:
    room = PixelRoom(0)
    for _ in range(3):
        try:
            with room.place() as take:
                take(5_000_000)
                raise ValueError
        except ValueError:
            pass
    with room.place():
        pass
    with room.place() as take:
        take(1)
