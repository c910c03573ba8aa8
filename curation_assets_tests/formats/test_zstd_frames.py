"""zstd as people pack it: frames that readers skip, joined frames, and windows up to what memory_budget allows."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
from pathlib import Path

import pyarrow as pa
import pytest
from upath import UPath

from curation_assets.errors import ShardError
from curation_assets.formats import build_reader
from curation_assets.formats.jsonl import JsonlReader
from curation_assets.formats.opening import StorageFile
from curation_assets.formats.zstd_frames import MAGIC, library, most_window, window_of
from curation_assets.pools.source import JsonlSource
from curation_assets_tests.formats.tars import summary

zstd = library()
LINES = pa.compress(b'{"text": "a"}\n' * 3, codec="zstd", asbytes=True)
SKIPPED = b"\x52\x2a\x4d\x18" + struct.pack("<I", 10) + b"x" * 10


def read(folder: Path, content: bytes, budget: int | None = None, name: str = "a.jsonl.zst") -> list[str]:
    (folder / name).write_bytes(content)
    reader = build_reader(JsonlSource(format="jsonl", path="."), folder, budget)
    return summary(reader.read(name))


@pytest.mark.parametrize("content", [SKIPPED + LINES, LINES + SKIPPED, SKIPPED + SKIPPED + LINES])
def test_frames_that_are_skipped_are_no_fault(tmp_path, content):
    assert read(tmp_path, content) == ["a:0", "a:1", "a:2"]


def test_joined_frames_are_read_to_the_end(tmp_path):
    assert len(read(tmp_path, LINES + SKIPPED + LINES)) == 6


def packed(log: int, n: int = 3) -> bytes:
    """Lines in a frame with a window of 2**log bytes, written as a stream, so that the size is not known."""
    options = {
        zstd.CompressionParameter.window_log: log,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    target = io.BytesIO()
    with zstd.ZstdFile(target, "w", options=options) as file:
        file.write(b'{"text": "a"}\n' * n)
    return target.getvalue()


@pytest.mark.parametrize("before", [b"", SKIPPED])
def test_a_window_of_2_gib_is_read_where_the_budget_allows(tmp_path, before):
    content = before + packed(31)
    assert window_of(StorageFile(io.BytesIO(content), "a")) == 2**31
    assert read(tmp_path, content, 4 * 10**9) == ["a:0", "a:1", "a:2"]
    with pytest.raises(
        ShardError,
        match=r"a\.jsonl\.zst: .* window of 2,048 MiB, more than the 512 MiB that memory_budget leaves for it: set "
        r"memory_budget to 3\.4 GB or more, or compress it again without --long",
    ):
        read(tmp_path, content, 2 * 10**9)


def test_a_later_frame_with_a_long_window_is_judged_alike(tmp_path):
    assert len(read(tmp_path, LINES + packed(28), 2 * 10**9)) == 6
    with pytest.raises(ShardError, match=r"a\.jsonl\.zst: .* more than the 128 MiB .* without --long"):
        read(tmp_path, LINES + packed(28))


def test_a_window_beyond_all_readers_needs_other_compression(tmp_path):
    # A single segment: the window is the content, here of 1 TiB.
    header = MAGIC + bytes([0xE0]) + struct.pack("<Q", 2**40)
    with pytest.raises(ShardError, match=r"of 1,048,576 MiB, .*leaves for it: compress it again"):
        read(tmp_path, header + bytes(20), 10**12)


@pytest.mark.parametrize(
    ("budget", "window"),
    [(None, 2**27), (12 * 10**8, 2**27), (2 * 10**9, 2**29), (3_347_483_648, 2**31), (10**12, 2**31)],
)
def test_the_longest_window_follows_the_budget(budget, window):
    assert most_window(budget) == window


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (packed(20)[:-3], "truncated_file"),
        (LINES + packed(20)[:-3], "truncated_file"),
        (LINES + bytes(8), "unreadable_file"),
        (LINES + b"what follows", "unreadable_file"),
    ],
)
def test_what_comes_before_a_fault_is_read(tmp_path, content, reason):
    results = read(tmp_path, content)
    assert results[-1] == f"a.jsonl.zst: {reason}"
    assert len(results) >= 4 or reason == "truncated_file"


MEMBERS = gzip.compress(b'{"text": "a"}\n' * 2, mtime=0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (MEMBERS + MEMBERS, 4),
        (MEMBERS + gzip.compress(b"", mtime=0) + MEMBERS, 4),
        (MEMBERS + bytes(512), 2),
        (MEMBERS + bytes(3) + MEMBERS, 4),
    ],
)
def test_gzip_of_several_members_and_with_zeros_is_sound(tmp_path, content, expected):
    results = read(tmp_path, content, name="a.jsonl.gz")
    assert results == [f"a:{n}" for n in range(expected)]


@pytest.mark.parametrize("cut", [1, 4, 8, 12])
def test_a_cut_gzip_gives_what_is_before_the_cut(tmp_path, cut):
    results = read(tmp_path, MEMBERS + MEMBERS[:-cut], name="a.jsonl.gz")
    assert results[:2] == ["a:0", "a:1"]
    assert results[-1].endswith("truncated_file")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (bz2.compress(b"{}"), "bzip2"),
        (lzma.compress(b"{}"), "xz"),
        (pa.compress(b"{}", "lz4", asbytes=True), "lz4"),
    ],
)
def test_other_compressions_say_what_to_do(tmp_path, content, name):
    (tmp_path / "a.jsonl.x").write_bytes(content)
    source = JsonlSource(format="jsonl", path=".")
    [rejection] = JsonlReader(UPath(tmp_path), source).read("a.jsonl.x")
    assert rejection.reason == "unreadable_file"
    assert rejection.detail == f"compressed with {name}: compress it with gzip or zstd"


@pytest.mark.parametrize(
    ("header", "window"),
    [
        (bytes([0x00, 0]), 1024),
        (bytes([0x00, 3]), 1024 + 3 * 128),
        (bytes([0x20, 7]), 7),
        (bytes([0x60, 1, 1]), 257 + 256),
        (bytes([0xA0, 0, 0, 0, 1]), 2**24),
        (bytes([0xE3, 1, 2, 3, 4]) + struct.pack("<Q", 2**40), 2**40),
    ],
)
def test_the_window_is_in_the_header_of_the_frame(header, window):
    assert window_of(StorageFile(io.BytesIO(MAGIC + header + bytes(12)), "a")) == window


@pytest.mark.parametrize(
    "content", [b"", MAGIC, SKIPPED, SKIPPED[:6], b"\x50\x2a\x4d\x18\xff\xff\xff\xff", SKIPPED * 70]
)
def test_what_has_no_frame_has_no_window(content):
    file = StorageFile(io.BytesIO(content), "a")
    assert window_of(file) == 0
    assert file.tell() == 0
