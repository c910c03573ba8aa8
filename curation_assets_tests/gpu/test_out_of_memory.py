"""A card that is full: one line with the remedy, nothing lost, and the same bytes once there is room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from curation_assets.algorithms.search.cuda.memory import DeviceMemory
from curation_assets_tests.gpu.vector_pools import digests, make_vector_project
from curation_assets_tests.projects import Project, curate

pytestmark = pytest.mark.gpu


@contextmanager
def full_card() -> Iterator[None]:
    """Within the block this process may use less of the card than any fit needs."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def on_card(project: Project, **changes: object) -> None:
    project.write_pool({**project.settings(), "fit_device": "cuda", **changes})


def test_a_full_card_ends_a_run_in_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    expected, project = (make_vector_project(tmp_path / name, "clustered") for name in ("cpu", "card"))
    curate(expected)
    on_card(project)
    with full_card():
        code, output = project.run("run", "--pool", "emoji")
    assert code == 1
    lines = [line for line in output.splitlines() if "has no memory left (device_memory is auto)" in line]
    assert lines, output
    assert all("set a smaller device_memory" in line for line in lines)
    assert "Traceback" not in output
    before = project.modified_times()
    assert any(path.startswith("embeddings/") for path in before)
    curate(project)
    after = project.modified_times()
    assert all(after[path] == modified for path, modified in before.items() if path.startswith("embeddings/"))
    assert digests(project) == digests(expected)
    assert project.selection_bytes() == expected.selection_bytes()


def test_rows_that_are_copied_in_every_pass_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, project = (make_vector_project(tmp_path / name, "tight") for name in ("cpu", "card"))
    curate(expected)
    on_card(project)
    monkeypatch.setattr(DeviceMemory, "room", lambda *_: 0)
    curate(project)
    card = project.storage.output("level_1_clusters").require_facts().summary["card"]
    assert card["rows"] == "streamed"
    assert digests(project) == digests(expected)
