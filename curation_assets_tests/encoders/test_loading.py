from __future__ import annotations

import threading
from typing import Any

import pytest

from curation_assets.encoders import loading
from curation_assets.pools import BundledEncoderSettings, EncoderSettings, TimmEncoderSettings


class Loads:
    """Stands for `build_encoder`: slow enough that a second thread asks meanwhile."""

    def __init__(self) -> None:
        self.made: list[EncoderSettings] = []

    def __call__(self, settings: EncoderSettings) -> Any:
        self.made.append(settings)
        threading.Event().wait(0.02)
        return object()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    counting = Loads()
    monkeypatch.setattr("curation_assets.encoders.build_encoder", counting)
    monkeypatch.setattr(loading, "resolve_device", lambda device, setting: device.replace("auto", "cpu"))
    monkeypatch.setattr(loading, "CACHE", loading.EncoderCache())
    return counting


def bundled(**changes: Any) -> BundledEncoderSettings:
    return BundledEncoderSettings(kind="bundled", **changes)


def timm(model: str, **changes: Any) -> TimmEncoderSettings:
    return TimmEncoderSettings(kind="timm", model=model, **changes)


def test_the_same_settings_are_loaded_once(loads: Loads) -> None:
    first = loading.load_encoder(bundled())
    for same in (bundled(), bundled(device="cpu"), bundled(decode_threads=0)):
        assert loading.load_encoder(same) is first
    assert len(loads.made) == 1
    for other in (bundled(batch_size=2), bundled(precision="bfloat16"), timm("a")):
        assert loading.load_encoder(other) is not first


def test_the_cpu_holds_two_and_what_was_not_used_for_longest_goes(loads: Loads) -> None:
    first = loading.load_encoder(timm("a"))
    loading.load_encoder(timm("b"))
    assert loading.load_encoder(timm("a")) is first
    loading.load_encoder(timm("c"))
    assert loading.load_encoder(timm("a")) is first
    assert len(loads.made) == 3
    loading.load_encoder(timm("b"))
    assert len(loads.made) == 4


def test_each_other_device_holds_one(loads: Loads) -> None:
    on_cpu = loading.load_encoder(timm("a"))
    first = loading.load_encoder(timm("a", device="cuda:0"))
    assert first is not on_cpu
    second = loading.load_encoder(timm("a", device="cuda:1"))
    loading.load_encoder(timm("b", device="cuda:0"))
    assert loading.load_encoder(timm("a", device="cuda:1")) is second
    assert loading.load_encoder(timm("a")) is on_cpu
    assert loading.load_encoder(timm("a", device="cuda:0")) is not first


def test_two_threads_that_ask_for_the_same_load_it_once(loads: Loads) -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(loading.load_encoder(bundled()))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads.made) == 1
    assert len(set(map(id, found))) == 1


def test_a_failed_load_is_tried_again(loads: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(settings: EncoderSettings) -> Any:
        raise OSError("no network")

    with monkeypatch.context() as patch:
        patch.setattr("curation_assets.encoders.build_encoder", fail)
        with pytest.raises(OSError, match="no network"):
            loading.load_encoder(bundled())
    assert loading.load_encoder(bundled()) is loading.load_encoder(bundled())
    assert len(loads.made) == 1
