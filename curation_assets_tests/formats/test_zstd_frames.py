"""zstd as people pack it: frames that readers skip, joined frames, and windows beyond what is decompressed."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pyarrow as pa
import pytest
from upath import UPath

from curation_assets.errors import ShardError
from curation_assets.formats.jsonl import JsonlReader
from curation_assets.formats.opening import StorageFile
from curation_assets.formats.zstd_frames import MAGIC, window_of
from curation_assets.pools.source import JsonlSource
from curation_assets_tests.formats.tars import summary

LINES = pa.compress(b'{"text": "a"}\n' * 3, codec="zstd", asbytes=True)
SKIPPED = b"\x52\x2a\x4d\x18" + struct.pack("<I", 10) + b"x" * 10


def read(folder: Path, content: bytes) -> list[str]:
    (folder / "a.jsonl.zst").write_bytes(content)
    source = JsonlSource(format="jsonl", path="")
    return summary(JsonlReader(UPath(folder), source).read("a.jsonl.zst"))


@pytest.mark.parametrize("content", [SKIPPED + LINES, LINES + SKIPPED, SKIPPED + SKIPPED + LINES])
def test_frames_that_are_skipped_are_no_fault(tmp_path, content):
    assert read(tmp_path, content) == ["a:0", "a:1", "a:2"]


def test_joined_frames_are_read_to_the_end(tmp_path):
    assert len(read(tmp_path, LINES + SKIPPED + LINES)) == 6


@pytest.mark.parametrize("before", [b"", SKIPPED])
def test_a_long_window_is_an_error_with_its_remedy(tmp_path, before):
    with pytest.raises(
        ShardError, match=r"a\.jsonl\.zst: .* window of 2,048 MiB, more than 128: .*without --long"
    ):
        read(tmp_path, before + MAGIC + bytes([0x00, 21 << 3]) + bytes(20))


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
