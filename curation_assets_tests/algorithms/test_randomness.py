"""Randomness: named streams, and priorities that depend on their key alone."""

from __future__ import annotations

import numpy as np

from curation_assets.algorithms.randomness import Purpose, generator, keyed_priorities


def test_streams_differ_by_every_coordinate() -> None:
    streams = [
        (0, Purpose.SEEDING, 1, 0),
        (0, Purpose.SEEDING, 1, 1),
        (0, Purpose.SEEDING, 2, 0),
        (0, Purpose.DRAW, 1, 0),
        (1, Purpose.SEEDING, 1, 0),
    ]
    first = {int(generator(*stream).integers(2**62)) for stream in streams}
    assert len(first) == len(streams)
    assert generator(0, Purpose.DRAW).random() == generator(0, Purpose.DRAW).random()


def test_priorities_are_distinct_even_and_independent_of_company() -> None:
    keys = np.arange(100_000, dtype=np.uint64)
    priorities = keyed_priorities(keys, 7, Purpose.DRAW)
    assert len(np.unique(priorities)) == len(keys)
    assert abs((priorities / 2**64).mean() - 0.5) < 0.005
    np.testing.assert_array_equal(keyed_priorities(keys[::-7], 7, Purpose.DRAW), priorities[::-7])
    assert (keyed_priorities(keys, 8, Purpose.DRAW) != priorities).all()
