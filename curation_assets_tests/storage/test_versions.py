"""Where files cannot be renamed: versions apart, facts last, and nothing of two writers together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from curation_assets.storage import versions
from curation_assets.storage.outputs import Output, Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.trees import TreeArchive
from curation_assets.storage.versions import new_version, version_age

NAMES = ("x", "y", "z")
DAY = 86_400


def recipe(who: str) -> Recipe:
    return Recipe({"who": who}, {}, "1")


def write(output: Output, who: str, names: tuple[str, ...] = NAMES) -> None:
    with output.writing(recipe(who)) as writer:
        for name in names:
            writer.text(name, who)


def read(output: Output) -> tuple[str, set[str]]:
    """Whose facts these are, and whose files."""
    facts = output.require_facts()
    return facts.settings["who"], {output.path(name).read_text() for name in facts.files}


@pytest.fixture
def storage(request: pytest.FixtureRequest) -> Iterator[PoolStorage]:
    """On a store that refuses what object stores cannot do: renaming."""
    storage = PoolStorage(f"memory://{request.node.name}", "p")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("mv", "rename", "move", "mv_file"):
            patch.setattr(MemoryFileSystem, name, refuse, raising=False)
        yield storage
    if storage.folder.exists():
        storage.folder.fs.rm(storage.folder.path, recursive=True)


def refuse(*_: Any, **__: Any) -> None:
    raise NotImplementedError("an object store cannot rename")


def files_of(storage: PoolStorage) -> set[str]:
    root = storage.folder.path
    return {path.removeprefix(f"{root}/") for path in storage.folder.fs.find(root)}


def test_names_are_unique_and_tell_their_age(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {new_version() for _ in range(100)}
    assert len(names) == 100
    assert all(0 <= version_age(name) < 60 for name in names)
    assert version_age("v-20200101T000000-0123456789abcdef") > DAY
    for other in ("small", "v-2020", "", "v-20200101T000000-xyz", "v-20200101T000000-0123456789abcdef0"):
        assert version_age(other) == -1


def test_a_new_version_takes_the_place_of_the_old_one(storage: PoolStorage) -> None:
    output = storage.output("asset", "a")
    write(output, "k")
    old = output.require_facts()
    write(output, "l", names=("x", "small/y"))
    facts = output.require_facts()
    assert old.version != facts.version
    assert files_of(storage) == {
        "asset/a.facts.json", f"asset/{facts.version}/a.x", f"asset/{facts.version}/small/a.y",
    }  # fmt: skip
    assert set(storage.shard_facts("asset")) == {"a"}
    storage.remove_shard("a", ["asset"])
    assert files_of(storage) == set()


def test_a_writer_killed_before_its_facts_leaves_the_old_output_whole(
    storage: PoolStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = storage.output("asset", "a")
    write(output, "k")
    with monkeypatch.context() as patch:
        # As SIGKILL would: after the files, before the facts, and nothing is cleared up.
        patch.setattr(Output, "store_facts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            write(output, "l")
    assert read(storage.output("asset", "a")) == ("k", {"k"})
    assert len(files_of(storage)) == 1 + 2 * len(NAMES)


def test_two_writers_never_mix_however_they_meet(
    storage: PoolStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every upload of one writer waits for one of the other."""
    write(storage.output("asset", "a"), "old")
    turns = threading.Barrier(2, timeout=20)
    real = MemoryFileSystem.put_file

    def put(self: MemoryFileSystem, source: str, target: str, **options: Any) -> None:
        turns.wait()
        real(self, source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "put_file", put)
        writers = [
            threading.Thread(target=write, args=(storage.output("asset", "a"), who)) for who in ("k", "l")
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(30)
    who, content = read(storage.output("asset", "a"))
    assert who in ("k", "l")
    assert content == {who}


def test_a_reader_keeps_to_the_version_of_its_facts(storage: PoolStorage) -> None:
    write(storage.output("asset", "a"), "k")
    reader = storage.output("asset", "a")
    assert reader.require_facts().settings["who"] == "k"
    write(storage.output("asset", "a"), "l")
    with pytest.raises(FileNotFoundError):
        reader.path("x").read_text()
    assert read(reader) == ("l", {"l"}), "facts read again bring their files along"


def test_only_old_orphans_go(storage: PoolStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    write(storage.output("asset", "a"), "k")
    write(storage.output("single"), "k")
    ancient = "v-20200101T000000-00000000000000aa"
    with monkeypatch.context() as patch:
        # Complete outputs of any age stay.
        patch.setattr("curation_assets.storage.outputs.new_version", lambda: ancient)
        write(storage.output("asset", "b"), "k")
    fs, folder = storage.folder.fs, storage.folder.path
    dead = [f"{folder}/{asset}/v-20200101T000000-00000000000000bb/x" for asset in ("asset", "single")]
    at_work = f"{folder}/asset/{new_version()}/c.x"
    for path in (*dead, at_work):
        fs.pipe_file(path, b"half")
    assert storage.remove_orphans(["asset", "single", "never made"]) == 2
    left = files_of(storage)
    assert f"asset/{ancient}/b.x" in left
    assert at_work.removeprefix(f"{folder}/") in left
    assert not [path for path in left if "00000000000000bb" in path]
    assert set(storage.shard_facts("asset")) == {"a", "b"}
    assert storage.remove_orphans(["asset", "single"]) == 0


def test_local_outputs_have_no_versions(tmp_path: Any) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    write(storage.output("asset", "a"), "k")
    assert storage.output("asset", "a").require_facts().version == ""
    assert '"version"' not in storage.output("asset", "a").path("facts.json").read_text()
    assert storage.output("asset", "a").path("x").parent == storage.folder / "asset"
    assert storage.remove_orphans(["asset"]) == 0


def test_an_archive_copies_the_version_that_it_read(
    storage: PoolStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer replaces the facts while the tree is archived."""
    write(storage.output("clusters"), "k")
    kept = storage.output("clusters").require_facts()
    archive = TreeArchive(storage)
    real = MemoryFileSystem.copy

    def copy(self: MemoryFileSystem, *paths: str, **options: Any) -> None:
        real(self, *paths, **options)
        if paths[0].endswith("/z"):
            monkeypatch.setattr(MemoryFileSystem, "copy", real)
            write(storage.output("clusters"), "l")

    monkeypatch.setattr(MemoryFileSystem, "copy", copy)
    assert archive.keep("v1", ["clusters"], "assign", [], reason="first", most=2) == 1
    archived = archive.storage("v1").output("clusters")
    assert archived.require_facts().version == kept.version
    assert read(archived) == ("k", {"k"})
    assert read(storage.output("clusters")) == ("l", {"l"})
    # The same version of the tree with other files: those of the first go.
    assert archive.keep("v1", ["clusters"], "assign", [], reason="first", most=2) == 1
    assert read(archive.storage("v1").output("clusters")) == ("l", {"l"})
    assert not [path for path in files_of(storage) if kept.version in path]
    assert versions.version_age(kept.version) >= 0
