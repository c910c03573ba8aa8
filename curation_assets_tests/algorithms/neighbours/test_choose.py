"""Which search is taken, and that a faiss that does not work is said in one line and does not stop anything."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from subprocess import CompletedProcess
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from curation_assets.algorithms.neighbours import choose, faiss_search, presence
from curation_assets.algorithms.neighbours.base import FlatSearch
from curation_assets.algorithms.neighbours.exact import most_similar
from curation_assets.algorithms.neighbours.faiss_search import FaissCardSearch, FaissSearch
from curation_assets.algorithms.neighbours.torch_search import TorchSearch
from curation_assets_tests.algorithms.neighbours.searches import rows_with_ties

MANY = 10**7
CPU, CARD = torch.device("cpu"), torch.device("cuda:0")


def flat_search(device: torch.device) -> FlatSearch:
    return choose.flat_search(device, MANY)


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    answers = (choose._for_many, presence.faiss_here, presence.faiss_on_card)
    for answer in answers:
        answer.cache_clear()
    yield
    for answer in answers:
        answer.cache_clear()


class BrokenImport:
    """Finds a faiss that fails with an error while it is imported."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name: str, *_: object) -> None:
        if name == "faiss":
            raise self.error


def break_import(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    monkeypatch.setattr(sys, "meta_path", [BrokenImport(error), *sys.meta_path])


def install(monkeypatch: pytest.MonkeyPatch, **more: Any) -> ModuleType:
    """A faiss that finds the neighbours of unit vectors, with other things in it."""
    faiss = ModuleType("faiss")
    vars(faiss).update(
        METRIC_INNER_PRODUCT=0, knn=lambda q, r, k, metric: (q @ r.T, (q @ r.T).argmax(axis=1))
    )
    vars(faiss).update(more)
    monkeypatch.setitem(sys.modules, "faiss", faiss)
    return faiss


def on_card(
    monkeypatch: pytest.MonkeyPatch, trial: CompletedProcess[str], n_cards: int = 1
) -> list[list[str]]:
    """A faiss for CUDA whose trial in a process of its own ends like this; returns the commands."""
    install(monkeypatch, StandardGpuResources=object, get_num_gpus=lambda: n_cards)
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> CompletedProcess[str]:
        commands.append(command)
        return trial

    monkeypatch.setattr(presence, "subprocess", SimpleNamespace(run=run, TimeoutExpired=TimeoutError))
    return commands


def test_faiss_searches_where_it_is_installed() -> None:
    pytest.importorskip("faiss")
    assert type(flat_search(CPU)) is (FaissSearch if sys.platform == "linux" else TorchSearch)
    assert type(choose.flat_search(CPU, 100)) is TorchSearch, "for few pairs it is quicker"


def test_without_faiss_torch_searches_and_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_import(monkeypatch, ModuleNotFoundError("No module named 'faiss'", name="faiss"))
    assert type(flat_search(CPU)) is type(flat_search(CARD)) is TorchSearch
    assert caplog.messages == []


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libcublas.so.12: cannot open shared object file"),
        ModuleNotFoundError("No module named 'faiss.swigfaiss'", name="faiss.swigfaiss"),
        AttributeError("partially initialized module"),
    ],
)
def test_a_broken_faiss_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    break_import(monkeypatch, error)
    for device in (CPU, CPU, CARD):
        assert type(flat_search(device)) is TorchSearch
    assert caplog.messages == [f"torch searches, the installed faiss does not work: {error}"]


def test_two_packages_that_share_a_folder_are_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is left of `faiss` when one of two packages is uninstalled imports, but has nothing in it."""
    monkeypatch.setitem(sys.modules, "faiss", ModuleType("faiss"))
    assert type(flat_search(CPU)) is TorchSearch
    assert caplog.messages == [
        "torch searches, the installed faiss does not work: module 'faiss' has no attribute 'knn'"
    ]


def test_outside_linux_torch_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert type(flat_search(CPU)) is TorchSearch


def test_a_faiss_for_cpus_leaves_the_card_to_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch)
    caplog.set_level(logging.INFO)
    assert type(flat_search(CPU)) is FaissSearch
    assert type(flat_search(CARD)) is type(flat_search(CARD)) is TorchSearch
    assert caplog.messages == ["cuda:0: torch searches, the installed faiss is for CPUs"]


def test_faiss_searches_on_a_card_where_its_trial_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = on_card(monkeypatch, CompletedProcess([], 0, "", ""))
    assert (
        type(flat_search(torch.device("cuda:1")))
        is type(flat_search(torch.device("cuda:1")))
        is FaissCardSearch
    )
    assert [command[-1] for command in commands] == ["1"]


@pytest.mark.parametrize(
    ("trial", "n_cards", "reason"),
    [
        (CompletedProcess([], 0, "", ""), 0, "it sees no card"),
        (CompletedProcess([], -6, "", ""), 1, "code -6"),
        (CompletedProcess([], -6, "", "...\nCUDA error 35 CUDA driver version is insufficient\n"), 1,
         "CUDA error 35 CUDA driver version is insufficient"),
    ],
)  # fmt: skip
def test_a_faiss_that_dies_on_the_card_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trial: CompletedProcess[str],
    n_cards: int,
    reason: str,
) -> None:
    on_card(monkeypatch, trial, n_cards)
    assert type(flat_search(CARD)) is type(flat_search(CARD)) is TorchSearch
    assert caplog.messages == [f"cuda:0: torch searches, faiss does not work there: {reason}"]


def test_the_search_on_a_card_gives_the_same_and_survives_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its call of faiss is played on the CPU: a card has none here."""
    rows, calls = rows_with_ties(3, 200, 7), []

    def highest(_: ModuleType, queries: torch.Tensor, references: torch.Tensor, k: int) -> Any:
        calls.append(k)
        if len(calls) > 1:
            raise RuntimeError("alloc fail (cudaMalloc error out of memory\n [2])")
        return (queries @ references.T).topk(k, dim=1)

    monkeypatch.setattr(faiss_search, "highest_on_card", highest)
    search, plain = FaissCardSearch(ModuleType("faiss")), TorchSearch()
    for k in (4, 4, 4):
        here, there = (most_similar(rows, rows, k, search=way) for way in (search, plain))
        assert [part.tolist() for part in here] == [part.tolist() for part in there]
    assert calls == [6, 6]
    assert caplog.messages == [
        "cpu: torch searches from now on, faiss failed: alloc fail (cudaMalloc error out of memory [2])"
    ]
