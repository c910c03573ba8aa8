"""`curation-assets verify`: what rotted is named, removed on request, and made again with the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.graph.steps import pool_steps
from curation_assets_tests.projects import Project, copy_project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A curated project of its own."""
    return copy_project(finished, tmp_path)


def flip(path: Path, place: float = 0.6) -> None:
    """Change one bit, in a file of its own: archived trees share files with those in use."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 16
    path.unlink()
    path.write_bytes(content)


def stored(project: Project) -> dict[tuple[str, str | None], str]:
    """Digest of the content of every output, but the report's, which says when it was made."""
    storage, steps = project.storage, pool_steps(project.spec)
    return {
        (step.name, key): storage.output(step.name, key).require_facts().digest
        for step in steps.values()
        if step.name != "curation_report"
        for key in ([shard.key for shard in storage.shards()] if step.partitioned else [None])
    }


def test_what_is_repaired_has_the_same_bytes_again(project: Project) -> None:
    before, folder = stored(project), Path(str(project.storage.folder))
    code, output = project.run("verify", "--pool", "emoji")
    assert (code, "all as they were written" in output) == (0, True), output
    damaged = [
        "embeddings/00001.npy",
        "level_1_clusters/centroids.npy",
        "level_2_clusters/facts.json",
        "level_1_assign/00002.facts.json",
        "selection/selected.parquet",
        "shards.json",
        "fit_rows.json",
        "trees/history.json",
    ]
    for name in damaged:
        flip(folder / name)
    (folder / "ledger" / "00000.parquet").unlink()
    code, output = project.run("verify")
    assert code == 1
    for name in damaged:
        assert f"emoji: {name} " in output, output
    assert "ledger/00000.parquet is missing (made again by the step ledger)" in output
    assert "selection/selected.parquet has other bytes than were written" in output
    assert "curation-assets verify --pool emoji --repair" in output
    code, output = project.run("verify", "--pool", "emoji", "--repair")
    assert (code, f"{len(damaged) + 1} removed" in output) == (0, True), output
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    assert stored(project) == before
    code, output = project.run("verify")
    assert (code, "all as they were written" in output) == (0, True), output


@pytest.mark.parametrize("name", ["shards.json", "fit_rows.json"])
def test_a_damaged_listing_ends_in_one_line_with_the_remedy(project: Project, name: str) -> None:
    path = Path(str(project.storage.folder)) / name
    path.write_text(path.read_text()[:100])
    for command in (
        ["run", "--pool", "emoji"],
        ["status"],
        ["backfill", "--pool", "emoji", "--from", "level_2"],
    ):
        code, output = project.run(*command)
        assert code == 2
        assert f"{name} is damaged" in output
        assert "curation-assets verify --pool emoji --repair" in output
        assert "Traceback" not in output


def test_a_step_does_not_read_what_rotted(project: Project) -> None:
    folder = Path(str(project.storage.folder))
    for name, first, failing in (
        ("embeddings/00001.npy", "level_1", "level_1_initial"),
        ("level_2_clusters/centroids.npy", "level_2_assign", "level_2_assign"),
        ("level_1_assign/00002.parquet", "selection", "selection"),
    ):
        path = folder / name
        before = path.read_bytes()
        flip(path)
        code, output = project.run("backfill", "--pool", "emoji", "--from", first)
        assert code == 1
        assert failing in output
        assert f"{name} has other bytes than were written" in output, output
        assert "curation-assets verify --pool emoji --repair" in output
        path.write_bytes(before)
