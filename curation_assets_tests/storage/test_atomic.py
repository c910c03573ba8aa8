"""Staged files: they take their places together, and what killed processes left of them goes."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest
from upath import UPath

from curation_assets.storage import atomic
from curation_assets.storage.atomic import (
    Leftovers,
    StagedFiles,
    read_all_whole,
    read_whole,
    staged_file,
    write_text,
)
from curation_assets.storage.claims.processes import Process, this_machine, this_process
from curation_assets.storage.outputs import Output, Recipe

KILLED = Process(this_machine(), 999_999_999, "1")


def leave(folder: Path, target: str, writer: Process = KILLED) -> Path:
    """What a process killed while it wrote `target` leaves behind."""
    with mock.patch.object(atomic, "this_process", return_value=writer):
        staged = StagedFiles().stage(UPath(folder / target))
    staged.write_text("of a killed process")
    return staged


def test_leftovers_of_a_file_go_and_those_of_others_stay(tmp_path: Path) -> None:
    # Names that begin alike: another process may be writing these.
    others = [leave(tmp_path, name) for name in ("a.b.npy", "a-1.npy", "a.npy-1", "aa.npy", "a.facts.json")]
    mine = [leave(tmp_path, "a.npy"), tmp_path / ".tmp-a.npy-left"]
    mine[1].touch()
    os.utime(mine[1], (1, 1))
    Leftovers().remove(UPath(tmp_path / "a.npy"))
    assert not any(path.exists() for path in mine)
    assert all(path.exists() for path in others)
    Leftovers().remove(UPath(tmp_path / "none" / "a.npy"))


def test_what_another_process_may_be_writing_stays(tmp_path: Path) -> None:
    # A process of another machine cannot be seen: only age tells.
    elsewhere = Process("elsewher", 999_999_999, "1")
    at_work = [leave(tmp_path, "a.npy", this_process()), leave(tmp_path, "a.npy", elsewhere)]
    at_work.append(tmp_path / ".tmp-a.npy-of_0_5_0")
    at_work[-1].touch()
    old = leave(tmp_path, "a.npy", elsewhere)
    os.utime(old, (1, 1))
    Leftovers().remove(UPath(tmp_path / "a.npy"))
    assert all(path.exists() for path in at_work)
    assert not old.exists()


@pytest.mark.parametrize("length", [1, 200, 255])
def test_names_as_long_as_the_file_system_allows_are_staged_and_cleared(length: int, tmp_path: Path) -> None:
    target = "é" * (length // 2) + "x" * (length % 2)
    left = leave(tmp_path, target)
    write_text(UPath(tmp_path / target), "whole")
    assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == [target]


def test_a_folder_is_listed_once_for_the_shards_of_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = UPath(tmp_path / "embeddings")
    keys = [f"{i:03}" for i in range(30)]
    left = [leave(tmp_path / "embeddings", f"{key}.npy") for key in keys[::7]]
    left += [leave(tmp_path / "embeddings" / "small", f"{key}.txt") for key in keys[::9]]
    left += [leave(tmp_path / "embeddings", f"{key}.facts.json") for key in keys[::11]]
    listed: list[str] = []
    real = os.listdir
    monkeypatch.setattr(atomic.os, "listdir", lambda path: listed.append(str(path)) or real(path))
    leftovers = Leftovers()
    for key in keys:
        with Output(folder, key).writing(Recipe({}, {}, "1"), leftovers) as writer:
            writer.text("npy", key)
            writer.text("small/txt", key)
    assert sorted(listed) == [str(folder), str(folder / "small")]
    assert not any(path.exists() for path in left)
    assert not list(tmp_path.rglob(".tmp-*"))
    assert all(Output(folder, key).facts() is not None for key in keys)


def test_each_folder_is_flushed_once_after_its_files_and_before_the_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    real = atomic._flush
    monkeypatch.setattr(atomic, "_flush", lambda path: flushed.append(path.name) or real(path))
    with Output(UPath(tmp_path / "out"), "a").writing(Recipe({}, {}, "1")) as writer:
        for name in ("x", "y", "z"):
            writer.text(name, name)
    names = [name if not name.startswith(".tmp-") else name.removeprefix(".tmp-")[:3] for name in flushed]
    assert names == ["a.x", "a.y", "a.z", "out", "a.f", "out"]


def test_contents_are_on_disk_before_old_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output(UPath(tmp_path), "a")
    with output.writing(Recipe({"k": 1}, {}, "1")) as writer:
        writer.text("txt", "old")

    def full_disk(_: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_flush", full_disk)
        with (
            pytest.raises(OSError, match="No space left"),
            output.writing(Recipe({"k": 2}, {}, "1")) as writer,
        ):
            writer.text("txt", "new")
    assert output.require_facts().settings == {"k": 1}
    assert output.path("txt").read_text() == "old"
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("root", ["local", "memory://staged"])
def test_a_file_appears_whole_or_not_at_all(root: str, tmp_path: Path) -> None:
    target = UPath(tmp_path if root == "local" else root) / "folder" / "file.txt"
    write_text(target, "old")

    def fail() -> None:
        with staged_file(target) as staged:
            staged.write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert target.read_text() == "old"
    write_text(target, "new")
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_whole_contents_leave_out_what_is_gone_and_tell_of_a_store_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = UPath("memory://whole")
    for name in ("a", "b"):
        write_text(folder / name, name)
    paths = [(folder / name).path for name in ("a", "gone", "b")]
    assert list(read_all_whole(folder, paths).values()) == [b"a", b"b"]
    assert read_all_whole(folder, paths[:1]) == {paths[0]: b"a"}
    assert read_all_whole(folder, paths[1:2]) == read_all_whole(folder, []) == {}
    assert read_whole(folder / "b") == b"b"
    real = type(folder.fs).cat_file

    def sometimes(self: object, path: str, *about: object, **more: object) -> bytes:
        if path.endswith("b"):
            raise TimeoutError("the store does not answer")
        return bytes(real(self, path, *about, **more))  # type: ignore[arg-type]

    monkeypatch.setattr(type(folder.fs), "cat_file", sometimes)
    for some in (paths, paths[2:]):
        with pytest.raises(TimeoutError, match="does not answer"):
            read_all_whole(folder, some)
