"""Encoders stay loaded: a process reads weights once, however many shards, steps and runs need them."""

from __future__ import annotations

import threading
from collections import OrderedDict

from curation_assets.encoders.base import Encoder
from curation_assets.errors import ModelUnavailableError, PoolSpecError
from curation_assets.pools import EncoderSettings
from curation_assets.pools.device import resolve_device

# A process may alternate between an image pool and a text pool, but a GPU has memory for one model only.
_MOST_ON_CPU = 2
_MOST_ON_OTHERS = 1


class EncoderCache:
    """The encoders used last, at most two on the CPU and one on each other device."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[tuple[str, str], Encoder] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, settings: EncoderSettings) -> Encoder:
        """The encoder of these settings; loaded if it is not in the cache on the same device.

        The least recently used encoder is dropped before a new one is loaded. Two threads that ask for the same
        encoder load it once.

        Raises:
            ModelUnavailableError: if it cannot be loaded, for the reasons of `build_encoder`.
        """
        from curation_assets.encoders import build_encoder

        device = resolve_device(settings.device, "encoder.device")
        key = (device, settings.model_dump_json(exclude={"device", "decode_threads"}))
        with self._lock:
            if key not in self._loaded:
                self._make_room(device)
                try:
                    self._loaded[key] = build_encoder(settings)
                except PoolSpecError as error:
                    raise ModelUnavailableError(str(error)) from error
            self._loaded.move_to_end(key)
            return self._loaded[key]

    def _make_room(self, device: str) -> None:
        there = [key for key in self._loaded if key[0] == device]
        most = _MOST_ON_CPU if device == "cpu" else _MOST_ON_OTHERS
        for key in there[: max(0, len(there) + 1 - most)]:
            del self._loaded[key]


CACHE = EncoderCache()
"""Of this process."""


def load_encoder(settings: EncoderSettings) -> Encoder:
    """See `EncoderCache.load`; from the cache of this process."""
    return CACHE.load(settings)
