"""Device settings: a wrong one is reported under the name it was set by."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import curation_assets
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.devices.cuda import Cuda
from curation_assets.encoders import build_encoder
from curation_assets.encoders.loading import EncoderCache
from curation_assets.errors import PoolSpecError
from curation_assets.pools import BundledEncoderSettings, SentenceTransformersEncoderSettings
from curation_assets.pools.device import resolve_device

PACKAGE = Path(curation_assets.__file__).parent
SETTINGS = ["encoder.device", "fit_device"]


def cards(monkeypatch: pytest.MonkeyPatch, n: int, found: Cuda) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
    monkeypatch.setattr("curation_assets.devices.cuda._asked", lambda index: found)


def test_auto_takes_cuda_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, device in ((Cuda(True), "cuda"), (Cuda(False), "cpu"), (Cuda(False, "it is broken"), "cpu")):
        cards(monkeypatch, 1, found)
        assert resolve_device("auto", "fit_device") == device


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_device_that_the_machine_lacks_is_named(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 2, Cuda(True))
    assert resolve_device("cuda:1", setting) == "cuda:1"
    with pytest.raises(
        PoolSpecError, match=rf"^{setting} is 'cuda:2', but torch sees 2 cuda device\(s\) here: choose"
    ):
        resolve_device("cuda:2", setting)


@pytest.mark.parametrize(("n_seen", "message"), [
    (0, r"torch sees 0 cuda device\(s\) here \(PyTorch needs a newer driver: update it\): choose auto"),
    (1, r"PyTorch needs a newer driver: update it; or choose auto"),
])  # fmt: skip
def test_a_card_that_was_asked_for_and_cannot_be_used_is_an_error(
    n_seen: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards(monkeypatch, n_seen, Cuda(False, "PyTorch needs a newer driver: update it"))
    with pytest.raises(PoolSpecError, match=f"^fit_device is 'cuda', but {message}"):
        resolve_device("cuda", "fit_device")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("device", ["gpu", "", "meta", "cuda:x"])
def test_an_unknown_device_is_named(device: str, setting: str) -> None:
    with pytest.raises(PoolSpecError, match=f"^{setting} is '{device}': choose auto"):
        resolve_device(device, setting)


@pytest.mark.parametrize(
    "settings",
    [
        BundledEncoderSettings(kind="bundled", device="cuda:99"),
        SentenceTransformersEncoderSettings(kind="sentence_transformers", model="any", device="cuda:99"),
    ],
    ids=lambda settings: settings.kind,
)
@pytest.mark.parametrize("load", [build_encoder, EncoderCache().load])
def test_encoders_report_encoder_device(settings: Any, load: Any) -> None:
    with pytest.raises(PoolSpecError, match=r"^encoder\.device is 'cuda:99'"):
        load(settings)


def test_fits_report_fit_device() -> None:
    from curation_assets.algorithms.kmeans.tiles import FitMemory
    from curation_assets.steps.tree.fit_workers import RowWorkers

    rows = ArrayRows(np.ones((4, 2), dtype=np.float32))
    make = RowWorkers(rows, np.array([0, 4]), "cosine", "gpu", FitMemory())
    with pytest.raises(PoolSpecError, match=r"^fit_device is 'gpu'"):
        make(0)


def test_every_caller_names_the_setting_that_it_read() -> None:
    named: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "resolve_device":
                room = path.relative_to(PACKAGE).parts[0]
                named.setdefault(room, set()).add(ast.literal_eval(node.args[1]))
    assert named.pop("encoders") == {"encoder.device"}
    assert set(named) == {"cli", "defs", "steps"}
    assert set.union(*named.values()) == {"fit_device"}
