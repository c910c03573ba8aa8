"""Encoders stay loaded: weights are read once per process, however many shards, steps and runs need them."""

from __future__ import annotations

import threading
from collections import OrderedDict

from curation_assets.encoders.base import Encoder
from curation_assets.encoders.device import resolve_device
from curation_assets.pools import EncoderSettings

# A process may alternate between a pool of images and one of texts, but a GPU has its memory for one model.
_MOST_ON_CPU = 2
_MOST_ON_OTHERS = 1

_loaded: OrderedDict[tuple[str, str], Encoder] = OrderedDict()
_lock = threading.Lock()


def load_encoder(settings: EncoderSettings) -> Encoder:
    """The encoder of these settings, from memory if it was used lately on the same device.

    At most two encoders stay on the CPU and one on each other device; the one that was not used for longest goes
    before the new one is loaded. Two threads that ask for the same one load it once.

    Raises:
        PoolSpecError: as `build_encoder`.
    """
    from curation_assets.encoders import build_encoder

    device = resolve_device(settings.device)
    key = (device, settings.model_dump_json(exclude={"device", "decode_threads"}))
    with _lock:
        if key not in _loaded:
            _make_room(device)
            _loaded[key] = build_encoder(settings)
        _loaded.move_to_end(key)
        return _loaded[key]


def forget_encoders() -> None:
    """Let go of every encoder that is loaded; who holds one may go on using it."""
    with _lock:
        _loaded.clear()


def _make_room(device: str) -> None:
    there = [key for key in _loaded if key[0] == device]
    most = _MOST_ON_CPU if device == "cpu" else _MOST_ON_OTHERS
    for key in there[: max(0, len(there) + 1 - most)]:
        del _loaded[key]
