from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from curation_assets.encoders import compiled, torch_encoder
from curation_assets.encoders.timm import TimmEncoder
from curation_assets.encoders.torch_encoder import TorchEncoder
from curation_assets.errors import PoolSpecError
from curation_assets.pools import TimmEncoderSettings


def settings(**changes) -> TimmEncoderSettings:
    values = {"kind": "timm", "model": "test_vit", "pretrained": False, "batch_size": 4, "device": "cpu"}
    return TimmEncoderSettings(**(values | changes))


class Tiny(TorchEncoder):
    """Compiles in seconds."""

    def __init__(self, settings: TimmEncoderSettings) -> None:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5), torch.nn.GELU())
        super().__init__(model, preprocess=pixels_of, identity={}, settings=settings)


def pixels_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((4, 4)))).permute(2, 0, 1) / 255


@pytest.fixture
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)) for _ in range(6)]


def test_one_shape_is_compiled_and_short_batches_are_padded_to_it(monkeypatch, images):
    shapes = []

    def backend(graph, inputs):
        def run(*args):
            shapes.append([tuple(value.shape) for value in args if value.ndim == 4])
            return graph(*args)

        return run

    monkeypatch.setattr(compiled, "BACKEND", backend)
    found = Tiny(settings(compile=True)).encode(images)
    assert shapes == [[(4, 3, 4, 4)]] * 3, "the first pass, a full batch, and the last two images"
    np.testing.assert_allclose(found, Tiny(settings()).encode(images), rtol=1e-5)


def test_it_is_part_of_the_identity(monkeypatch):
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    plain = TimmEncoder(settings())
    assert TimmEncoder(settings(compile=True)).identity == {**plain.identity, "compile": "inductor"}
    assert "compile" not in plain.identity


def test_a_missing_compiler_names_the_setting(monkeypatch):
    def backend(graph, inputs):
        raise OSError("no C++ compiler\nand a long trace")

    monkeypatch.setattr(compiled, "BACKEND", backend)
    with pytest.raises(PoolSpecError, match=r"encoder\.compile is true.*'test_vit'.*encoder\.compile: false"):
        Tiny(settings(compile=True))


def test_no_memory_is_not_taken_for_a_missing_compiler(monkeypatch):
    def forward(self, prepared):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch_encoder.TorchEncoder, "_begin_batch", forward)
    with pytest.raises(PoolSpecError, match="batch of one does not fit"):
        Tiny(settings(compile=True))


@pytest.mark.slow
def test_compiled_kernels_repeat_and_stay_close(images):
    one, other = Tiny(settings(compile=True)), Tiny(settings(compile=True))
    found = one.encode(images)
    np.testing.assert_array_equal(found, one.encode(images))
    np.testing.assert_array_equal(found, other.encode(images))
    np.testing.assert_allclose(found, Tiny(settings()).encode(images), rtol=1e-5)
