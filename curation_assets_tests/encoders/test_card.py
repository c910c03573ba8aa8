"""Encoders as they work on a card; here the processor takes its place, `gpu/` has what needs one."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torchvision import transforms

from curation_assets.encoders import torch_encoder
from curation_assets.encoders.card import CardTraffic, images_per_batch
from curation_assets.encoders.timm import TimmEncoder
from curation_assets.pools import TimmEncoderSettings


def encoder(model: str = "test_vit", **changes) -> TimmEncoder:
    values = {"kind": "timm", "model": model, "pretrained": False, "device": "cpu", **changes}
    return TimmEncoder(TimmEncoderSettings(**values))


@pytest.fixture
def as_on_a_card(monkeypatch):
    monkeypatch.setattr(torch_encoder, "feeds_a_card", lambda device: True)


def test_images_travel_as_bytes_and_give_the_same_embeddings(emoji_images, monkeypatch):
    plain = encoder(batch_size=4)
    monkeypatch.setattr(torch_encoder, "feeds_a_card", lambda device: True)
    card = encoder(batch_size=4)
    prepared = [card.prepare(image) for image in emoji_images]
    assert (prepared[0].dtype, prepared[0].shape) == (np.uint8, (160, 160, 3))
    assert (plain.n_ahead, card.n_ahead) == (0, 1)
    assert card.identity == plain.identity
    np.testing.assert_array_equal(card.encode_prepared(prepared), plain.encode(emoji_images))


def test_preprocessing_that_does_not_normalise_last_is_done_whole(emoji_images, as_on_a_card, monkeypatch):
    monkeypatch.setattr(torch_encoder.PixelPipeline, "of", lambda preprocess: None)
    whole = encoder(batch_size=4)
    assert (whole.prepare(emoji_images[0]).dtype, whole.prepare(emoji_images[0]).shape) == (
        np.float32,
        (3, 160, 160),
    )
    monkeypatch.undo()
    np.testing.assert_array_equal(whole.encode(emoji_images), encoder(batch_size=4).encode(emoji_images))


def test_a_window_is_begun_before_the_one_before_is_waited_for(emoji_images, as_on_a_card):
    card = encoder(batch_size=2)
    prepared = [card.prepare(image) for image in emoji_images]
    first, second, third = (card.begin(prepared[i : i + 2]) for i in (0, 2, 4))
    # The buffers that the first batch lay in have been filled again.
    found = np.concatenate([first(), second(), third()])
    np.testing.assert_array_equal(found, card.encode_prepared(prepared))


def test_convolutions_of_a_card_are_in_channels_last_order(as_on_a_card):
    memory_formats = {
        name: encoder(name, batch_size=1)._memory_format
        for name in ("test_vit", "test_efficientnet", "test_convnext")
    }
    assert memory_formats == {
        "test_vit": torch.contiguous_format,
        "test_efficientnet": torch.channels_last,
        "test_convnext": torch.channels_last,
    }


def test_auto_fills_a_card_with_what_fits(as_on_a_card, monkeypatch):
    tried: list[int] = []
    whole = TimmEncoder._begin_batch

    def with_room_for_10(self, prepared):
        tried.append(len(prepared))
        if len(prepared) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, prepared)

    monkeypatch.setattr(TimmEncoder, "_begin_batch", with_room_for_10)
    monkeypatch.setattr(torch_encoder, "images_per_batch", lambda image_bytes: 32)
    card = encoder()
    assert card.window == 8
    assert tried == [32, 16, 8, 8, 8, 8]


def test_auto_on_the_processor_is_what_it_always_was():
    assert encoder().window == 64
    assert encoder(batch_size=7).window == 7


@pytest.mark.parametrize(
    ("image_bytes", "n"), [(3 * 224**2, 256), (3 * 518**2, 128), (4 * 3 * 518**2, 32), (10**9, 1)]
)
def test_a_batch_is_bounded_in_bytes(image_bytes, n):
    assert images_per_batch(image_bytes) == n


def test_buffers_grow_and_take_other_shapes():
    traffic = CardTraffic("cpu")
    for shape, n, dtype in [((4, 4, 3), 2, np.uint8), ((4, 4, 3), 5, np.uint8), ((2,), 3, np.float32)] * 2:
        arrays = list(np.random.default_rng(n).integers(0, 9, (n, *shape)).astype(dtype))
        np.testing.assert_array_equal(traffic.to_card(arrays).numpy(), np.stack(arrays))
    assert traffic.from_card(torch.ones(2, 3, dtype=torch.float16))().dtype == np.float32


class Waits:
    """Stands for torch's streams and events, and writes down what waits for what."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.n_events = 0
        empty = torch.empty
        patch.setattr(torch, "empty", lambda *shape, pin_memory=False, **options: empty(*shape, **options))
        patch.setattr(
            torch.Tensor, "record_stream", lambda tensor, stream: self.log.append(f"kept for {stream.name}")
        )
        patch.setattr(torch.cuda, "Stream", lambda device: FakeStream(self, "copies"))
        patch.setattr(torch.cuda, "current_stream", lambda device: FakeStream(self, "kernels"))
        patch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        patch.setattr(torch.cuda, "Event", lambda blocking: FakeEvent(self))


@dataclass
class FakeStream:
    waits: Waits
    name: str

    def wait_stream(self, other: FakeStream) -> None:
        self.waits.log.append(f"{self.name} wait for {other.name}")

    def record_event(self, event: FakeEvent) -> FakeEvent:
        self.waits.log.append(f"{event.name} behind {self.name}")
        return event


class FakeEvent:
    def __init__(self, waits: Waits) -> None:
        waits.n_events += 1
        self.waits, self.name = waits, f"event {waits.n_events}"

    def synchronize(self) -> None:
        self.waits.log.append(f"processor waits for {self.name}")


def test_a_buffer_is_filled_again_only_when_the_card_has_read_it(monkeypatch):
    waits = Waits(monkeypatch)
    traffic = CardTraffic("cuda")
    monkeypatch.setattr(traffic, "_device", torch.device("cpu"))
    arrays = [np.arange(3, dtype=np.uint8)]
    for turn in (1, 2):
        traffic.to_card(arrays)
        assert waits.log == [f"event {turn} behind copies", "kernels wait for copies", "kept for kernels"]
        waits.log.clear()
    traffic.to_card(arrays)
    assert waits.log[:2] == ["processor waits for event 1", "event 3 behind copies"]


def test_a_result_is_waited_for_when_it_is_asked_for(monkeypatch):
    waits = Waits(monkeypatch)
    traffic = CardTraffic("cuda")
    monkeypatch.setattr(traffic, "_device", torch.device("cpu"))
    wait = traffic.from_card(torch.ones(2, 3, dtype=torch.bfloat16))
    assert waits.log == ["event 1 behind kernels"]
    np.testing.assert_array_equal(wait(), np.ones((2, 3), dtype=np.float32))
    assert waits.log[1:] == ["processor waits for event 1"]


def test_the_classes_that_make_tensors_are_those_of_the_libraries():
    from timm.data.transforms import MaybeToTensor

    assert {MaybeToTensor.__name__, transforms.ToTensor.__name__} == {"MaybeToTensor", "ToTensor"}
