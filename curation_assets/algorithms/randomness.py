"""Explicit randomness: generators and per-row priorities that depend on named coordinates, never on order."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

_PIECE = 2**16


class Purpose(IntEnum):
    """What a stream of random numbers is for; part of its key, so that streams never overlap."""

    SEEDING = 1
    RESAMPLING = 2
    SPLITTING = 3
    QUOTA_REMAINDER = 4
    DRAW = 5
    BASELINE = 6
    DEDUPLICATION = 7
    ATLAS = 8
    FIT_SAMPLE = 9
    YARDSTICK = 10
    HELD_OUT = 11
    COMPARISON = 12


def generator(seed: int, purpose: Purpose, *coordinates: int) -> np.random.Generator:
    """A generator for one (seed, purpose, level, step, ...) and nothing else.

    Args:
        seed: the user's seed, >= 0.
        purpose: what the numbers are for.
        coordinates: level, step, cluster or other numbers that tell two uses apart.
    """
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=(int(purpose), *coordinates)))


def keyed_priorities(keys: np.ndarray, seed: int, purpose: Purpose, *coordinates: int) -> np.ndarray:
    """A pseudo-random priority for each key that does not depend on the other keys or their order.

    The finalizer of SplitMix64 (Steele, Lea and Flood 2014) applied to key + a random offset; as a bijection
    it gives different keys different priorities, so draws by smallest priority have no ties to break.

    Args:
        keys: integer array of any shape: row numbers, cluster ids or hashes of sample ids.
        seed: the user's seed.
        purpose: what the priorities are for.
        coordinates: see `generator`.

    Returns:
        uint64 array of the same shape.
    """
    offset = generator(seed, purpose, *coordinates).integers(0, 2**64, dtype=np.uint64)
    priorities = np.asarray(keys).astype(np.uint64, order="C")
    flat = priorities.reshape(-1)
    # In pieces that stay in the cache, and in place. Integer arrays wrap around.
    for start in range(0, len(flat), _PIECE):
        z = flat[start : start + _PIECE]
        z += offset
        z ^= z >> np.uint64(30)
        z *= np.uint64(0xBF58476D1CE4E5B9)
        z ^= z >> np.uint64(27)
        z *= np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return priorities
