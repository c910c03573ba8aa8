"""Whether a file changed: what a listing sees of a replaced file, and what older listings recorded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from curation_assets.errors import PoolSpecError
from curation_assets.formats import build_reader
from curation_assets.formats.base import SourceFile
from curation_assets.formats.listed import versions
from curation_assets.formats.listed.versions import (
    digested,
    earlier,
    first_seen,
    is_same,
    local_version,
    modified_at,
    passing_inodes,
    recorded,
    remote_version,
    with_companion,
)
from curation_assets.pools.source import SOURCES

TIME = 1_700_000_000_123_456_789


def listed(folder: Path | str, **source: Any) -> list[SourceFile]:
    settings = {"format": "jsonl", "path": str(folder), **source}
    return build_reader(SOURCES[settings["format"]](**settings), Path()).list_files()


def write(path: Path, text: str = "old") -> Path:
    path.write_text(text)
    os.utime(path, ns=(TIME, TIME))
    return path


def rsync(file: Path) -> None:
    """As `rsync -t`: a new file under the name, with the time of the old one."""
    write(file.with_name("_new"), "new").replace(file)


def move(file: Path) -> None:
    write(file.with_name("_new"), "new")
    shutil.move(file.with_name("_new"), file)


def copy_in_place(file: Path) -> None:
    """As `cp -p`: the inode stays."""
    shutil.copy2(write(file.with_name("_new"), "new"), file)
    file.with_name("_new").unlink()


def edit_and_reset(file: Path) -> None:
    write(file, "new")


@pytest.mark.parametrize("replace_by", [rsync, move, copy_in_place, edit_and_reset])
@pytest.mark.parametrize(("kind", "name"), [("jsonl", "a.jsonl"), ("folder", "a.txt")])
def test_a_file_replaced_by_one_of_the_same_size_and_time_is_noticed(tmp_path, replace_by, kind, name):
    file = write(tmp_path / name)
    source = {"format": kind, "modality": "text"}
    before = listed(tmp_path, **source)
    assert listed(tmp_path, **source) == before
    replace_by(file)
    (after,) = listed(tmp_path, **source)
    assert (after.path, after.size_bytes) == (before[0].path, before[0].size_bytes)
    assert not is_same(first_seen(before[0]), after)


def test_a_link_to_another_file_of_the_same_size_and_time_is_noticed(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a")
    (tmp_path / "a.jsonl").symlink_to("x/a")
    (before,) = listed(tmp_path)
    (tmp_path / "a.jsonl").unlink()
    (tmp_path / "a.jsonl").symlink_to("y/a")
    (after,) = listed(tmp_path)
    assert not is_same(before, after)


@pytest.mark.parametrize("replace_by", [rsync, copy_in_place, edit_and_reset])
def test_digests_tell_contents_and_nothing_else(tmp_path, replace_by):
    file = write(tmp_path / "a.jsonl")
    (before,) = listed(tmp_path, check="digest")
    os.utime(file)
    file.chmod(0o600)
    assert listed(tmp_path, check="digest") == [before]
    os.utime(file, ns=(TIME, TIME))
    replace_by(file)
    (after,) = listed(tmp_path, check="digest")
    assert not is_same(before, after)
    assert modified_at(after.version) is None


def test_digests_read_files_of_the_pool_alone(tmp_path, monkeypatch):
    write(tmp_path / "a.jsonl")
    write(tmp_path / "b.bin")
    read = []

    def opened(path, mode):
        read.append(path)
        return Path(path).open(mode)

    monkeypatch.setattr(versions, "open", opened, raising=False)
    listed(tmp_path, check="digest")
    assert read == [str(tmp_path / "a.jsonl")]


def test_a_file_without_the_right_to_read_it_is_up_to_its_shard(tmp_path, monkeypatch):
    write(tmp_path / "a.jsonl")

    def refusing(error):
        def opened(*_):
            raise error

        monkeypatch.setattr(versions, "open", opened, raising=False)
        return listed(tmp_path, check="digest")[0].version

    assert refusing(PermissionError(13, "Permission denied")) == "unreadable"
    assert refusing(FileNotFoundError(2, "gone")) == "missing"
    with pytest.raises(
        PoolSpecError, match=r"'a.jsonl' of the pool cannot be read \(OSError: .*check: digest"
    ):
        refusing(OSError(5, "Input/output error"))


def test_elsewhere_content_is_read_unless_storage_tells_it():
    root = UPath("memory://versions-pool")
    root.mkdir(parents=True, exist_ok=True)
    (root / "a.jsonl").write_bytes(b"old")
    (before,) = listed(str(root), check="digest")
    (root / "a.jsonl").write_bytes(b"old")
    assert listed(str(root), check="digest") == [before]
    (root / "a.jsonl").write_bytes(b"new")
    assert listed(str(root), check="digest") != [before]


def test_an_etag_stands_for_the_content(monkeypatch):
    root = UPath("memory://etag-versions")
    root.mkdir(parents=True, exist_ok=True)
    (root / "a.jsonl").write_bytes(b"old")
    entry = {"name": "/etag-versions/a.jsonl", "type": "file", "size": 3, "ETag": '"1"'}
    monkeypatch.setattr(type(root.fs), "ls", lambda *_, **__: [entry])
    monkeypatch.setattr(
        type(root.fs), "info", lambda _, path: entry if path.endswith("l") else {"type": "directory"}
    )
    assert listed(str(root), check="digest")[0].version == remote_version(entry)


def test_a_hub_tells_its_blobs():
    facts = {"name": "a", "size": 3, "blob_id": "1"}
    known = SourceFile("a", 3, remote_version({"name": "a", "size": 3}))
    now = SourceFile("a", 3, remote_version(facts))
    assert known.version == "size=3"
    assert is_same(known, now), "before, nothing but the size was known"
    assert not is_same(first_seen(now), SourceFile("a", 3, remote_version(facts | {"blob_id": "2"})))


def test_files_of_earlier_listings_are_unchanged_and_watched_from_now_on(tmp_path):
    file = write(tmp_path / "a.jsonl")
    known = SourceFile("a.jsonl", 3, str(TIME))
    kept = recorded(known, *listed(tmp_path))
    assert kept == first_seen(*listed(tmp_path)), "as a new file"
    assert digested(kept) == ["a.jsonl", 3, str(TIME)] == digested(known)
    assert recorded(kept, *listed(tmp_path)) == kept
    rsync(file)
    (now,) = listed(tmp_path)
    assert is_same(known, now), "nothing tells it from the file that was listed"
    assert not is_same(kept, now)
    assert recorded(kept, now) == now
    rsync(file)
    assert not is_same(now, *listed(tmp_path))
    assert earlier(now) == known


def test_another_time_or_size_is_a_change_of_an_earlier_listing(tmp_path):
    write(tmp_path / "a.jsonl")
    (now,) = listed(tmp_path)
    assert not is_same(SourceFile("a.jsonl", 3, str(TIME + 1)), now)
    assert not is_same(SourceFile("a.jsonl", 4, str(TIME)), now)


def test_inodes_that_do_not_last_do_not_count(tmp_path, monkeypatch):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "40 22 0:51 / /mnt/remote rw,nosuid - fuse.sshfs host: rw\n"
        "41 22 0:52 / /mnt/share rw - cifs //host/share rw\n"
        "42 22 0:53 / /mnt/nfs rw - nfs4 host:/x rw\n"
        "damaged\n"
    )
    monkeypatch.setattr(versions, "_MOUNTS", mounts)
    assert passing_inodes() == {os.makedev(0, 51), os.makedev(0, 52)}
    monkeypatch.setattr(versions, "_MOUNTS", tmp_path / "nowhere")
    assert passing_inodes() == frozenset()
    facts = write(tmp_path / "a").stat()
    assert local_version(facts, frozenset({facts.st_dev})) == f"{TIME}.{facts.st_ctime_ns:x}"
    assert local_version(facts, frozenset()).endswith(f"-{facts.st_ino:x}")


def test_the_modification_time_is_in_the_version(tmp_path):
    version = local_version(write(tmp_path / "a").stat(), frozenset())
    assert modified_at(version) == TIME / 1e9 == modified_at(str(TIME))
    assert modified_at("content=0f") is None


BASES = st.sampled_from(["1", "22", "0f3a", "size=3", "missing"])
VERSIONS = st.builds(lambda base, more: base + more, BASES, st.sampled_from(["", ".a", ".b-1", "."]))


@given(VERSIONS, st.none() | VERSIONS, st.none() | VERSIONS)
def test_an_array_changes_with_its_table(array, table, other):
    def joined(beside):
        companion = None if beside is None else SourceFile("t", 3, beside)
        return SourceFile("a", 1, with_companion(array, companion))

    assert (joined(table) == joined(other)) == (table == other) or {table, other} <= {None, "missing"}
    assert is_same(earlier(joined(table)), joined(table))


@given(st.lists(VERSIONS, min_size=1, max_size=6))
def test_what_is_recorded_has_the_digest_of_what_was_known_or_is_new(looks):
    known = first_seen(SourceFile("a", 1, looks[0]))
    for version in looks[1:]:
        seen = SourceFile("a", 1, version)
        now = recorded(known, seen)
        assert (digested(now) == digested(known)) == is_same(known, seen)
        assert earlier(now) == earlier(seen)
        assert recorded(now, seen) == now
        known = now
