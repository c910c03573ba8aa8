"""Which files are taken: the wait for those that are still being written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from upath import UPath

from curation_assets.defs.run.arrivals import Arrivals, Unsettled, settle
from curation_assets.formats.base import SourceFile
from curation_assets.formats.listed.versions import first_seen
from curation_assets.formats.webdataset import WebDatasetReader
from curation_assets.pools.source import WebDatasetSource
from curation_assets_tests.formats.tars import tar_bytes

NOW = 1_000_000.0


def file(path: str, *, age: float | None = None, size: int = 10, version: str = "etag") -> SourceFile:
    """A local file last changed `age` seconds ago, or a remote one."""
    return SourceFile(path, size, str(int((NOW - age) * 1e9)) if age is not None else version)


def told(
    *listed: SourceFile,
    known: tuple[SourceFile, ...] = (),
    earlier: dict[str, Unsettled] | None = None,
    now: float = NOW,
    closed: bool = True,
) -> Arrivals:
    return settle(
        listed,
        {entry.path: entry for entry in known},
        earlier or {},
        now=now,
        settle_seconds=10,
        unclosed_seconds=100,
        is_closed=lambda _: closed,
    )


def test_known_files_are_taken_whatever_their_age() -> None:
    fresh = file("a.tar", age=0)
    assert told(fresh, known=(fresh,)) == Arrivals([fresh], {})


def test_a_file_that_an_earlier_version_listed_is_taken_too() -> None:
    listed = replace(file("a.tar", age=0), version=f"{file('a.tar', age=0).version}.0f-1")
    assert told(listed, known=(file("a.tar", age=0),)) == Arrivals([listed], {})
    replaced = told(listed, known=(first_seen(replace(listed, version=f"{listed.version}2")),))
    assert replaced.unsettled["a.tar"].why == "size or time still changing"


def test_a_local_file_rests_since_its_last_change() -> None:
    old, young = file("a.tar", age=10), file("b.tar", age=9)
    arrivals = told(old, young)
    assert arrivals.settled == [old]
    assert arrivals.unsettled["b.tar"].why == "size or time still changing"


def test_a_remote_file_must_look_the_same_for_a_while() -> None:
    first = told(file("a.tar"))
    assert not first.settled
    assert told(file("a.tar"), earlier=first.unsettled, now=NOW + 10).settled
    grown = told(file("a.tar", size=11), earlier=first.unsettled, now=NOW + 10)
    assert not grown.settled
    assert grown.unsettled["a.tar"].since == NOW + 10


def test_a_known_file_that_is_being_rewritten_stands_as_it_was() -> None:
    before, moving = file("a.tar", age=500), file("a.tar", age=1, size=3)
    arrivals = told(moving, known=(before,))
    assert arrivals.settled == [before]
    assert "a.tar" in arrivals.unsettled


def test_an_unclosed_file_is_waited_for_then_taken() -> None:
    waiting = told(file("a.tar", age=50), closed=False)
    assert waiting.unsettled["a.tar"].why == "not complete yet"
    assert told(file("a.tar", age=100), closed=False).settled


def test_a_clock_that_is_behind_does_not_count_backwards() -> None:
    assert not told(file("a.tar", age=-3600)).settled


def test_a_tar_is_closed_by_its_two_empty_blocks(tmp_path: Path) -> None:
    whole = tar_bytes([("a.png", b"x" * 700)])
    for name, content in (("whole", whole), ("half", whole[:1024]), ("empty", b"")):
        (tmp_path / f"{name}.tar").write_bytes(content)
    reader = WebDatasetReader(UPath(tmp_path), WebDatasetSource(path="."))
    closed = {entry.path: reader.is_closed(entry) for entry in reader.list_files()}
    assert closed == {"whole.tar": True, "half.tar": False, "empty.tar": False}
    memory = UPath("memory://arrivals")
    (memory / "half.tar").write_bytes(whole[:1024])
    reader = WebDatasetReader(memory, WebDatasetSource(path="."))
    assert [reader.is_closed(entry) for entry in reader.list_files()] == [True], (
        "stores show whole files only"
    )
