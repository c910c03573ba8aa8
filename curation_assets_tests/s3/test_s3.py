"""A pool on a real S3 server through the command line: same result, no second run, kills, two writers at once."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import pytest

from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.verification import DOCUMENTS
from curation_assets_tests.projects import Project, make_project
from curation_assets_tests.s3.server import S3Project

pytestmark = pytest.mark.s3
VERSION = re.compile(r"/v-\d{8}T\d{6}-[0-9a-f]{16}/")

WRITE = """
import sys
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
root, who, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
output = PoolStorage(root, "p").output("asset", "a")
for i in range(times):
    with output.writing(Recipe({"who": who}, {}, "1")) as writer:
        for name in ("x", "y", "z"):
            writer.text(name, who * 1000)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, s3: dict[str, str]) -> S3Project:
    """A project that was killed twice while it was curated, and then went on."""
    plain = make_project(tmp_path_factory.mktemp("s3-project"))
    project = S3Project(plain.folder, "curation", tuple(s3.items()))
    project.storage.folder.fs.mkdir("curation")
    for asset, shard in (("embeddings", "00001"), ("level_1_initial", None)):
        process = project.start("run", "--pool", "emoji")
        deadline = time.monotonic() + 120
        while project.storage.output(asset, shard).facts() is None:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    return project


def test_the_selection_is_the_one_of_local_files(project: S3Project, finished: Project) -> None:
    assert project.selection_bytes() == finished.selection_bytes()


def test_nothing_is_left_on_this_machine_and_versions_lie_apart(project: S3Project) -> None:
    assert not (project.folder / "data" / "curated").exists()
    objects = project.objects()
    assert "shards.json" in objects
    for path in objects:
        plain = path.endswith("facts.json") or path in DOCUMENTS
        assert plain or VERSION.search(path), path


def test_a_second_run_does_nothing(project: S3Project) -> None:
    before = project.objects()
    code, output = project.run("run", "--pool", "emoji")
    assert code == 0, output
    assert "nothing to do" in output
    assert project.objects() == before


def test_objects_that_are_deleted_are_made_again(project: S3Project) -> None:
    outputs = [project.storage.output("curation_report"), project.storage.output("raw_pool", "00001")]
    for output, name in zip(outputs, ("curation_report.html", "parquet"), strict=True):
        path = output.path(name)
        path.fs.rm_file(path.path)
    code, said = project.run("run", "--pool", "emoji")
    assert code == 0, said
    assert all(output.whole_facts() for output in outputs)
    code, said = project.run("run", "--pool", "emoji")
    assert "nothing to do" in said


def test_a_level_again_leaves_no_old_version(project: S3Project) -> None:
    before = project.objects()
    code, output = project.run("run", "--pool", "emoji", "--from", "level_3")
    assert code == 0, output
    after = project.objects()
    assert len(after) == len(before)
    changed = {path.split("/")[0] for path in before.keys() ^ after.keys()}
    assert "level_3_clusters" in changed
    assert "embeddings" not in changed


def test_a_file_that_vanishes_and_comes_from_another_process_is_seen(project: S3Project) -> None:
    code, output = project.run("status", "--pool", "emoji")
    assert code == 0
    rows = re.findall(r"(\w+)\s*│\s*(\d+)/(\d+)", output)
    assert all(made == wanted for _, made, wanted in rows), output
    storage = project.storage
    assert set(storage.shard_facts("ledger")) == {"00000", "00001", "00002"}
    # Another process writes what this one has listed before.
    write = [sys.executable, "-c", WRITE, project.home.storage_root, "m", "1"]
    assert PoolStorage(project.home.storage_root, "p").shard_facts("asset") == {}
    subprocess.run(write, check=True, timeout=120)
    assert set(PoolStorage(project.home.storage_root, "p").shard_facts("asset")) == {"a"}


def test_two_processes_write_one_output_and_no_reader_sees_a_mixture(project: S3Project) -> None:
    root = project.home.storage_root
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, root, who, "25"]) for who in ("k", "l")]
    seen: set[str] = set()
    n_gone = 0
    while any(writer.poll() is None for writer in writers):
        output = PoolStorage(root, "p").output("asset", "a")
        facts = output.facts()
        if facts is None:
            continue
        who = facts.settings["who"]
        try:
            texts = {output.path(name).fs.cat_file(output.path(name).path).decode() for name in facts.files}
        except FileNotFoundError:
            n_gone += 1
            continue
        assert texts == {who * 1000}
        seen.add(who)
    assert all(writer.wait() == 0 for writer in writers)
    assert {"k", "l"} <= seen
    facts = PoolStorage(root, "p").output("asset", "a").require_facts()
    output = PoolStorage(root, "p").output("asset", "a")
    assert {output.path(name).read_text() for name in ("x", "y", "z")} == {facts.settings["who"] * 1000}


def test_a_missing_bucket_is_not_made(s3: dict[str, str]) -> None:
    storage = PoolStorage("s3://no-such-bucket/curated", "p")
    with pytest.raises(FileNotFoundError), storage.output("asset").writing(Recipe({}, {}, "1")) as writer:
        writer.text("x", "y")
    assert not storage.folder.fs.exists("no-such-bucket")
