from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
from pathlib import Path

import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from curation_assets.errors import ShardError
from curation_assets.formats.base import RawSample, Rejection, RejectionReason
from curation_assets.formats.webdataset import WebDatasetReader, split_member_name
from curation_assets.pools.source import WebDatasetSource
from curation_assets_tests.formats.tars import image_bytes, read_bytes, summary, tar_bytes
from curation_assets_tests.formats.test_jsonl import SCRIPTS

PNG = image_bytes()
BLOCK = tarfile.BLOCKSIZE


def make_sample(key: str, **attributes) -> list[tuple[str, bytes]]:
    return [
        (f"{key}.png", PNG),
        (f"{key}.txt", b"a caption"),
        (f"{key}.json", json.dumps(attributes).encode()),
    ]


THREE = [*make_sample("000", n=0), *make_sample("001", n=1), *make_sample("002", n=2)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0001.jpg", ("0001", "jpg")),
        ("a/b.c/0001.seg.PNG", ("a/b.c/0001", "seg.png")),
        ("./0001.jpg", ("./0001", "jpg")),
        ("a.", ("a", "")),
        ("README", None),
        (".hidden", None),
        ("folder.d/README", None),
        ("folder/._0001.jpg", None),
        ("__key__/0.jpg", None),
        ("__0.jpg", ("__0", "jpg")),
    ],
)
def test_names_split_as_in_webdataset(name, expected):
    assert split_member_name(name) == expected


def test_a_sample_has_its_parts_attributes_and_offset(tmp_path):
    content = tar_bytes(THREE)
    samples = read_bytes(tmp_path, content)
    assert summary(samples) == ["000", "001", "002"]
    second = samples[1]
    assert isinstance(second, RawSample)
    assert (second.file, second.member, second.content) == ("0.tar", "001.png", PNG)
    assert content[second.offset : second.offset + len(PNG)] == PNG
    assert list(second.parts) == ["png", "txt", "json"]
    assert second.parts["txt"] == b"a caption"
    assert second.attributes == {"txt": "a caption", "n": 1}


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_folders_belong_to_the_key(tmp_path, tar_format):
    folder = "/".join(["folder" * 4] * 5) + "/" * (tar_format == tarfile.USTAR_FORMAT)
    key = f"{folder.rstrip('/')}/0"
    samples = read_bytes(tmp_path, tar_bytes(make_sample(key), tar_format=tar_format))
    assert summary(samples) == [key]


def test_the_image_is_found_by_extension_in_any_case(tmp_path):
    members = [("a.json", b"{}"), ("a.JPEG", PNG), ("b.v2.jpg", PNG), ("c.seg.png", b"mask"), ("c.webp", PNG)]
    samples = read_bytes(tmp_path, tar_bytes(members))
    assert [sample.member for sample in samples] == ["a.JPEG", "b.v2.jpg", "c.webp"]
    assert all(sample.content == PNG for sample in samples)


def test_pax_headers_are_no_members(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"comment": "global"}) as tar:
        header = tarfile.TarInfo("0.png")
        header.size, header.pax_headers = len(PNG), {"comment": "of this one"}
        tar.addfile(header, io.BytesIO(PNG))
    assert summary(read_bytes(tmp_path, buffer.getvalue())) == ["0"]


def test_names_that_are_no_utf8_become_writable_text(tmp_path):
    content = tar_bytes([("xx.png", PNG)], tar_format=tarfile.USTAR_FORMAT).replace(
        b"xx.png", b"\xff\xfe.png"
    )
    header = bytearray(content[:BLOCK])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (sample,) = read_bytes(tmp_path, bytes(header) + content[BLOCK:])
    assert sample.sample_id == "\\xff\\xfe"
    sample.sample_id.encode("utf-8")


@pytest.mark.parametrize(
    "document",
    [
        b"{",
        b'{"a": "\xff"}',
        b"",
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b'{"a": ' + b"1" * 5000 + b"}",
    ],
)
def test_bad_json_rejects_its_sample_only(tmp_path, document):
    results = read_bytes(tmp_path, tar_bytes([("a.png", PNG), ("a.json", document), *make_sample("b")]))
    assert summary(results) == ["a: invalid_json", "b"]
    assert "a.json" in results[0].detail


@pytest.mark.parametrize("document", ["[1, 2]", '"a caption"', "null", "3"])
def test_json_that_is_no_object_goes_along_with_its_sample(tmp_path, document):
    (sample,) = read_bytes(tmp_path, tar_bytes([("a.png", PNG), ("a.json", document.encode())]))
    assert (sample.sample_id, sample.parts["json"]) == ("a", document.encode())
    assert sample.attributes == {"json": json.loads(document)}


def test_a_sample_without_image_is_rejected(tmp_path):
    results = read_bytes(tmp_path, tar_bytes([("a.txt", b"no image"), ("a.json", b"{}"), *make_sample("b")]))
    assert summary(results) == ["a: no_image_member", "b"]


@pytest.mark.parametrize("between", [[], make_sample("b")])
def test_a_repeated_key_is_rejected_naming_the_first(tmp_path, between):
    results = read_bytes(tmp_path, tar_bytes([*make_sample("a"), *between, *make_sample("a", second=True)]))
    assert summary(results) == ["a", *(["b"] if between else []), "a: duplicate_id"]
    assert "first as a.png" in results[-1].detail


@pytest.mark.parametrize(
    ("content", "reason", "remedy"),
    [
        (b"", RejectionReason.EMPTY_FILE, "no bytes"),
        (tar_bytes([]), RejectionReason.EMPTY_FILE, "no sample"),
        (tar_bytes([("README", b"text")]), RejectionReason.EMPTY_FILE, "no sample"),
        (b"<html>404</html>", RejectionReason.UNREADABLE_FILE, "not a tar"),
        (bytes(range(256)) * 40, RejectionReason.UNREADABLE_FILE, "not a tar"),
        (gzip.compress(tar_bytes(THREE), mtime=0), RejectionReason.UNREADABLE_FILE, "gzip"),
    ],
    ids=["zero bytes", "no members", "no samples", "html", "binary", "gzip"],
)
def test_a_file_without_samples_is_rejected_whole(tmp_path, content, reason, remedy):
    (result,) = read_bytes(tmp_path, content)
    assert (result.sample_id, result.file, result.member, result.reason) == ("0.tar", "0.tar", None, reason)
    assert remedy in result.detail


def layout_of(content: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return tar.getmembers()


def test_a_cut_inside_a_member_rejects_its_sample(tmp_path):
    content = tar_bytes(THREE)
    caption = layout_of(content)[4]
    results = read_bytes(tmp_path, content[: caption.offset_data + 3])
    assert summary(results) == ["000", "001: truncated_file"]
    assert results[-1].member == "001.txt"


def test_a_cut_inside_the_first_member_of_a_sample_leaves_the_sample_before_whole(tmp_path):
    content = tar_bytes(THREE)
    image = layout_of(content)[3]
    assert summary(read_bytes(tmp_path, content[: image.offset_data + 3])) == ["000", "001: truncated_file"]


def test_a_cut_between_the_members_of_a_sample_is_seen_by_what_it_lacks(tmp_path):
    content = tar_bytes(THREE)
    document = layout_of(content)[5]
    results = read_bytes(tmp_path, content[: document.offset])
    assert summary(results) == ["000", "001: truncated_file", "0.tar: truncated_file"]


def test_without_end_marker_all_samples_count_and_the_file_is_noted(tmp_path):
    content = tar_bytes(THREE)
    last = layout_of(content)[-1]
    results = read_bytes(tmp_path, content[: last.offset_data + BLOCK])
    assert summary(results) == ["000", "001", "002", "0.tar: truncated_file"]
    assert "no end-of-archive marker" in results[-1].detail


def test_a_single_zero_block_is_an_end_marker(tmp_path):
    content = tar_bytes(THREE)
    last = layout_of(content)[-1]
    assert summary(read_bytes(tmp_path, content[: last.offset_data + 2 * BLOCK])) == ["000", "001", "002"]


def test_a_damaged_header_keeps_the_samples_before_it(tmp_path):
    content = bytearray(tar_bytes(THREE))
    content[layout_of(bytes(content))[6].offset + 5] ^= 0xFF
    results = read_bytes(tmp_path, bytes(content))
    assert summary(results) == ["000", "001", "0.tar: unreadable_file"]
    assert "damaged at byte" in results[-1].detail


def test_a_header_with_a_huge_size_allocates_nothing(tmp_path):
    header = tarfile.TarInfo("a.png")
    header.size = 2**60
    results = read_bytes(tmp_path, header.tobuf(tarfile.GNU_FORMAT) + b"x" * BLOCK)
    assert summary(results) == ["a: truncated_file"]


@given(cut=st.integers(0, len(tar_bytes(THREE))))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_tar_cut_anywhere_yields_whole_samples_then_a_rejection(tmp_path, cut):
    content = tar_bytes(THREE)
    whole = read_bytes(tmp_path, content)
    results = read_bytes(tmp_path, content[:cut])
    samples = [result for result in results if isinstance(result, RawSample)]
    assert samples == whole[: len(samples)] or cut_is_unseen(samples[-1])
    ends = [member.offset_data + member.size for member in layout_of(content)]
    assert len(samples) >= sum(end <= cut for end in ends[2::3])
    assert all(isinstance(result, Rejection) for result in results[len(samples) :])
    assert len(results) > len(samples) or cut > ends[-1]


def cut_is_unseen(sample: RawSample) -> bool:
    """The first sample of a file has none before it to tell what it lacks; the file is noted all the same."""
    return sample.sample_id == "000" and set(sample.parts) < {"png", "txt", "json"}


@given(
    flips=st.lists(st.tuples(st.integers(0, 10 * BLOCK), st.integers(0, 255)), max_size=8), long=st.booleans()
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_never_raise(tmp_path, flips, long):
    key = "ä" * 120 if long else "000"
    content = bytearray(tar_bytes([*make_sample(key), *make_sample("001")]))
    for position, value in flips:
        content[position] = value
    assert read_bytes(tmp_path, bytes(content))


def test_a_damaged_header_with_a_valid_checksum_never_raises(tmp_path):
    for kind in b"xgLKSVMN1234567\x00\xff":
        for size in (-1, -BLOCK, 0, 7, 2**40, 2**62):
            header = tarfile.TarInfo("a.png")
            header.type, header.size = bytes([kind]), size
            content = header.tobuf(tarfile.GNU_FORMAT) + b"12 path=x\n\0" * 100
            assert read_bytes(tmp_path, tar_bytes(make_sample("b"))[: -20 * BLOCK] + content)


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(ShardError, match=r"7\.tar: no such file"):
        list(WebDatasetReader(UPath(tmp_path), WebDatasetSource(path=".")).read("7.tar"))


class FailingFile(io.BytesIO):
    """A connection that breaks."""

    def read(self, size=-1):
        if self.tell() > 2 * BLOCK:
            raise RuntimeError("connection reset")
        return super().read(size)


def test_failing_storage_is_not_taken_for_a_damaged_tar(monkeypatch, tmp_path):
    reader = WebDatasetReader(UPath(tmp_path), WebDatasetSource(path="."))
    monkeypatch.setattr(reader._root.fs, "open", lambda *_: FailingFile(tar_bytes(THREE)))
    with pytest.raises(ShardError, match="connection reset"):
        list(reader.read("0.tar"))


def test_memory_does_not_grow_with_the_file(tmp_path: Path):
    path = tmp_path / "0.tar"
    path.write_bytes(tar_bytes((f"{n:05}.png", b"x" * 10_000) for n in range(1000)))
    samples = WebDatasetReader(UPath(tmp_path), WebDatasetSource(path=".")).read("0.tar")
    next(samples)
    tracemalloc.start()
    assert sum(1 for _ in samples) == 999
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def read_texts(folder: Path, members: list[tuple[str, bytes]]) -> list[RawSample | Rejection]:
    (folder / "0.tar").write_bytes(tar_bytes(members))
    return list(WebDatasetReader(UPath(folder), WebDatasetSource(path=".", modality="text")).read("0.tar"))


def test_a_text_pool_takes_the_txt_member_and_keeps_the_image(tmp_path):
    (sample,) = read_texts(tmp_path, make_sample("a", n=1))
    assert isinstance(sample, RawSample)
    assert (sample.member, sample.content) == ("a.txt", b"a caption")
    assert sample.parts["png"] == PNG
    assert sample.attributes == {"n": 1}
    content = (tmp_path / "0.tar").read_bytes()
    assert content[sample.offset :].startswith(b"a caption")


def test_a_text_pool_rejects_a_sample_without_text(tmp_path):
    results = read_texts(tmp_path, [("a.png", PNG), ("a.json", b"{}"), ("b.v2.txt", b"x"), ("c.txt", b"")])
    assert summary(results) == ["a: no_text_member", "b", "c"]
    assert results[0].detail == "no member is one of txt; there are a.png, a.json"


def test_tars_of_the_webdataset_library_are_read_back(tmp_path):
    pattern = str(tmp_path / "s-%06d.tar")
    with webdataset.ShardWriter(pattern, maxcount=4, verbose=0) as writer:
        for n, text in enumerate(SCRIPTS):
            writer.write({"__key__": f"{n:04}", "txt": text, "png": PNG, "json": {"n": n, "text": text}})
    for modality in ("image", "text"):
        reader = WebDatasetReader(UPath(tmp_path), WebDatasetSource(path=".", modality=modality))
        files = reader.list_files()
        assert len(files) == -(-len(SCRIPTS) // 4)
        assert all(reader.is_closed(file) for file in files)
        samples = [sample for file in files for sample in reader.read(file.path)]
        assert summary(samples) == [f"{n:04}" for n in range(len(SCRIPTS))]
        for n, (sample, text) in enumerate(zip(samples, SCRIPTS, strict=True)):
            assert sample.content == (PNG if modality == "image" else text.encode())
            is_plain = modality == "image" and "\0" not in text
            caption = {"txt": text.strip()} if is_plain else {}
            assert sample.parts["txt"].decode() == text
            assert sample.attributes == {**caption, "n": n, "text": text}


def test_small_text_members_are_attributes(tmp_path):
    members = [
        ("a.jpg", PNG),
        ("a.cls", b"7\n"),
        ("a.seg.txt", "ein Stück".encode()),
        ("a.json", b'{"cls": "cat", "n": 1}'),
    ]
    members += [
        ("b.jpg", PNG),
        ("b.cls", b"3"),
        ("b.npy", b"\x93NUMPY\x01\x00"),
        ("b.bin", b"\xff\xfe"),
        ("b.long", b"x" * 70_000),
    ]
    members += [("b.boxes.json", b"[1, 2]"), ("b.empty", b"")]
    first, second = read_bytes(tmp_path, tar_bytes(members))
    assert first.attributes == {"cls": "cat", "seg.txt": "ein Stück", "n": 1}, "the JSON takes precedence"
    assert second.attributes == {"cls": "3", "empty": ""}
