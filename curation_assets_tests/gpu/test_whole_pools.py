"""From stored embeddings on, a pool has the same bytes on every device: plain torch here, CUDA with `make test-gpu`."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from curation_assets.devices import cuda
from curation_assets.devices.cuda import Cuda
from curation_assets_tests.gpu.vector_pools import POOLS, digests, fitted_again, make_vector_project
from curation_assets_tests.projects import Project, copy_project, curate

BROKEN = "this machine has 1 NVIDIA card, but PyTorch does not see it: install it anew"


def test_images_have_the_same_tree_and_selection_without_compiled_loops_beside_a_broken_card(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cuda, "_asked", lambda index: Cuda(False, BROKEN))
    cuda._report.cache_clear()
    with caplog.at_level(logging.WARNING, logger="curation_assets"):
        other = fitted_again(finished, tmp_path / "other", "plain", monkeypatch)
    assert digests(other) == digests(finished)
    assert other.selection_bytes() == finished.selection_bytes()
    # Several fits asked; one line was said, and each says why it ran on the CPU.
    assert [record.getMessage() for record in caplog.records] == [f"the CPU is used: {BROKEN}"]
    devices = [
        project.storage.output("level_1_clusters").require_facts().summary["device"]
        for project in (finished, other)
    ]
    assert devices == ["cpu", f"cpu: {BROKEN}"]


@pytest.mark.gpu
def test_images_have_the_same_tree_and_selection_on_the_card(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = (fitted_again(finished, tmp_path / name, name, monkeypatch) for name in ("cpu", "cuda"))
    assert digests(other) == digests(first)
    assert other.selection_bytes() == first.selection_bytes()
    device = other.storage.output("level_1_clusters").require_facts().summary["device"]
    assert device.startswith("cuda: NVIDIA")


@pytest.mark.gpu
@pytest.mark.parametrize("kind", POOLS)
def test_embeddings_have_the_same_tree_and_selection_on_the_card(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_vector_project(tmp_path / "cpu", kind)
    curate(project)
    other = fitted_again(project, tmp_path / "card", "cuda", monkeypatch)
    assert digests(other) == digests(project)
    assert other.selection_bytes() == project.selection_bytes()


@pytest.mark.gpu
def test_a_card_embeds_the_same_images_to_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    found = []
    for number in range(2):
        project = copy_project(finished, tmp_path / str(number))
        settings = project.settings()
        project.write_pool({**settings, "encoder": {**settings["encoder"], "device": "cuda"}})
        code, output = project.run(
            "backfill", "--pool", "emoji", "--from", "embeddings", "--to", "embeddings"
        )
        assert code == 0, output
        shards = project.storage.shards()
        found.append(
            [project.storage.output("embeddings", shard.key).require_facts().digest for shard in shards]
        )
    assert found[0] == found[1]
