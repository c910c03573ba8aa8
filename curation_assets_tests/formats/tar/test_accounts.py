"""Every member of a tar has a fate: a row, a rejection, a part of a sample, or it is counted as left out."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from curation_assets.errors import ShardError
from curation_assets.formats.accounts import Account, left_out_lines
from curation_assets.formats.base import RawSample, Rejection
from curation_assets.formats.tar.groups import MOST_HELD
from curation_assets.formats.webdataset import WebDatasetReader
from curation_assets.pools.source import WebDatasetSource
from curation_assets_tests.formats.tars import image_bytes, summary, tar_bytes

PNG = image_bytes()


def read(
    folder: Path, content: bytes, modality: str = "image"
) -> tuple[list[RawSample | Rejection], Account]:
    (folder / "0.tar").write_bytes(content)
    account = Account()
    reader = WebDatasetReader(UPath(folder), WebDatasetSource(path=".", modality=modality))
    return list(reader.read("0.tar", account)), account


def ids(folder: Path, *names: str, modality: str = "image") -> list[str]:
    content = b"a text" if modality == "text" else PNG
    members = [(name, b"{}" if name.endswith("json") else content) for name in names]
    return summary(read(folder, tar_bytes(members), modality)[0])


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


def tar_of(*headers: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for header, content in headers:
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["www.a.com.png", "www.b.com.png"], ["www.a.com", "www.b.com"]),
        (["score_0.95.png", "score_0.97.png"], ["score_0.95", "score_0.97"]),
        (["www.a.png", "www.a.json", "www.b.png", "www.b.json"], ["www.a", "www.b"]),
        (["a.png", "a.seg.png", "a.depth.png"], ["a"]),
        (["a.depth.png", "a.edges.png", "a.png"], ["a"]),
        (["b.v2.png"], ["b"]),
        (["b.v2.png", "b.json"], ["b"]),
        (["b.left.png", "b.right.png", "b.json"], ["b.left", "b.right", "b: no_image_member"]),
        (["s.1.png", "x.png", "s.2.png"], ["s", "x", "s.2"]),
        (["s.1.png", "x.png", "s.1.png"], ["s", "x", "s.1"]),
        (["s.1.png", "s.2.png", "s.2.png"], ["s.1", "s.2", "s.2: duplicate_id"]),
        (["a.jpg", "a.png"], ["a"]),
    ],
)  # fmt: skip
def test_names_with_more_dots_are_samples_of_their_own(tmp_path, names, expected):
    assert ids(tmp_path, *names) == expected


def test_texts_with_more_dots_are_samples_of_their_own(tmp_path):
    assert ids(tmp_path, "doc.en.txt", "doc.de.txt", "x.txt", "x.title.txt", modality="text") == [
        "doc.en", "doc.de", "x",
    ]  # fmt: skip


def test_labels_of_a_name_with_dots_are_found(tmp_path):
    results, _ = read(tmp_path, tar_bytes([("a.v2.png", PNG), ("a.v2.json", b'{"n": 1}')]))
    assert results[0].attributes == {"n": 1}


def test_many_names_of_one_key_are_not_held(tmp_path):
    names = [f"www.{n:03}.png" for n in range(3 * MOST_HELD)]
    reader = WebDatasetReader(UPath(tmp_path), WebDatasetSource(path="."))
    (tmp_path / "0.tar").write_bytes(tar_bytes([(name, PNG) for name in names]))
    account = Account()
    stream = reader.read("0.tar", account)
    next(stream)
    assert account.n_seen == MOST_HELD + 1
    assert 1 + sum(1 for _ in stream) == len(names)


def test_a_cut_leaves_the_names_with_dots_before_it_whole(tmp_path):
    content = tar_bytes([("s.1.png", PNG), ("s.2.png", PNG), ("s.3.png", PNG)])
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        last = tar.getmembers()[-1]
    results, _ = read(tmp_path, content[: last.offset_data + 3])
    assert summary(results) == ["s.1", "s.2", "s.3: truncated_file"]


def test_tars_that_were_joined_are_read_to_the_end(tmp_path):
    first, second = tar_bytes([("a.png", PNG)]), tar_bytes([("b.png", PNG), ("b.json", b"{}")])
    results, account = read(tmp_path, first + second + bytes(10_240) + tar_bytes([("c.png", PNG)]))
    assert summary(results) == ["a", "b", "c"]
    assert account.n_parts == 1
    content = (tmp_path / "0.tar").read_bytes()
    assert all(content[sample.offset :].startswith(PNG) for sample in results)


def test_what_lies_behind_the_end_marker_and_is_no_tar_is_a_rejection(tmp_path):
    content = tar_bytes([("a.png", PNG)])
    results, _ = read(tmp_path, content + b"x" * 600)
    assert summary(results) == ["a", "0.tar: unreadable_file"]
    assert "600 bytes lie behind the end marker" in results[1].detail
    assert f"truncate --size={len(content)}" in results[1].detail


def test_a_link_to_a_file_before_it_is_that_file(tmp_path):
    links = [
        entry("d/b.png", tarfile.LNKTYPE, "./d/a.png"),
        entry("d/c.png", tarfile.SYMTYPE, "a.png"),
        entry("e/d.png", tarfile.SYMTYPE, "../d/c.png"),
    ]
    results, account = read(tmp_path, tar_of((entry("d/a.png"), PNG), *((link, b"") for link in links)))
    assert summary(results) == ["d/a", "d/b", "d/c", "e/d"]
    assert {sample.content for sample in results} == {PNG}
    assert len({sample.offset for sample in results}) == 4
    assert (account.n_seen, account.n_rows) == (4, 4)


def test_other_links_and_devices_with_the_name_of_an_image_are_rejections(tmp_path):
    content = tar_of(
        (entry("a.png", tarfile.LNKTYPE, "b.png"), b""),
        (entry("b.png"), PNG),
        (entry("c.png", tarfile.SYMTYPE, "/data/c.png"), b""),
        (entry("d.png", tarfile.FIFOTYPE), b""),
        (entry("folder.png", tarfile.DIRTYPE), b""),
        (entry("b.json", tarfile.SYMTYPE, "nowhere.json"), b""),
    )
    results, account = read(tmp_path, content)
    assert summary(results) == [
        "a: unreadable_member", "b", "c: unreadable_member", "d: unreadable_member", "b: duplicate_id",
    ]  # fmt: skip
    assert results[0].detail.startswith("a.png is a hard link to b.png, which is not in the tar before it")
    assert "--dereference" in results[2].detail
    assert account.n_seen == 5


def test_a_link_to_nothing_beside_an_image_is_counted(tmp_path):
    content = tar_of((entry("a.png"), PNG), (entry("a.json", tarfile.SYMTYPE, "nowhere.json"), b""))
    results, account = read(tmp_path, content)
    assert summary(results) == ["a"]
    assert list(left_out_lines(account.left_out.counts(), "member")) == [
        "1 member linking to nothing in its tar was left out: .json 1"
    ]


def sparse(name: str, size: int, pieces: list[tuple[int, bytes]]) -> bytes:
    """A tar of one sparse file as GNU tar stores it."""
    header = bytearray(entry(name).tobuf(tarfile.GNU_FORMAT))
    stored = b"".join(content for _, content in pieces)
    header[124:136] = b"%011o\0" % len(stored)
    header[156:157] = tarfile.GNUTYPE_SPARSE
    for i, (start, content) in enumerate(pieces):
        header[386 + 24 * i : 386 + 24 * (i + 1)] = b"%011o\0%011o\0" % (start, len(content))
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + stored + bytes(-len(stored) % 512) + bytes(1024)


def test_holes_of_a_sparse_file_are_zeros(tmp_path):
    results, _ = read(tmp_path, sparse("a.png", 4096, [(0, PNG), (2048, b"end")]))
    assert summary(results) == ["a"]
    assert results[0].content == PNG + bytes(2048 - len(PNG)) + b"end" + bytes(2045)


@pytest.mark.parametrize(
    ("size", "pieces"),
    [(2**40, [(0, PNG)]), (4096, [(100, PNG), (0, PNG)]), (10, [(0, PNG)])],
    ids=["a terabyte of holes", "pieces that overlap", "longer than the file"],
)
def test_a_sparse_file_that_cannot_be_filled_is_a_rejection(tmp_path, size, pieces):
    content = sparse("a.png", min(size, 8**11 - 1), pieces)
    assert summary(read(tmp_path, content)[0]) == ["a: unreadable_member"]


def test_images_without_extension_are_samples_and_the_rest_is_counted(tmp_path):
    members = [
        ("d/0af3", PNG), ("d/0af3.json", b"{}"), ("README", b"BM is how a bitmap begins"), ("LICENSE", b"P1 of 2"),
        (".DS_Store", b"x"), ("__MACOSX/._a.png", b"x"), ("__meta__/a.png", PNG), ("7.", PNG), ("8.", b"not an image"),
    ]  # fmt: skip
    results, account = read(tmp_path, tar_bytes(members))
    assert summary(results) == ["d/0af3", "7."]
    assert list(results[0].parts) == ["png", "json"]
    assert account.left_out.counts() == {
        "with a name that WebDataset skips": {".png": 2, "no extension": 1},
        "without a known extension": {"no extension": 3},
    }


KINDS = [
    tarfile.REGTYPE,
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
    tarfile.CONTTYPE,
]
NAMES = st.sampled_from(
    ["a", "a.png", "a.1.png", "a.2.png", "a.2.json", "a.json", "b.jpg", "b.", ".b", "d/a.png", "__x__/a.png"]
)


@given(
    entries=st.lists(st.tuples(NAMES, st.sampled_from(KINDS), NAMES), max_size=40),
    cut=st.none() | st.integers(0, 60_000),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_member_has_one_fate(tmp_path, entries, cut):
    headers = [
        (entry(name, kind, target), PNG if kind in tarfile.REGULAR_TYPES else b"")
        for name, kind, target in entries
    ]
    content = tar_of(*headers)
    results, account = read(tmp_path, content[:cut])
    account.require_balance("0.tar")
    if cut is None or cut >= len(content):
        seen = [kind for _, kind, _ in entries if kind != tarfile.DIRTYPE]
        assert account.n_seen == len(seen)
        assert sum(isinstance(item, RawSample) for item in results) == account.n_rows
    places = [item.offset for item in results if isinstance(item, RawSample)]
    assert len(places) == len(set(places))


def test_bytes_that_were_changed_never_break_or_hang_the_reader(tmp_path):
    random_bytes = random.Random(0)
    sound = sparse("s.png", 4096, [(0, PNG), (2048, b"end")])[:-1024] + tar_of(
        (entry("d/a.png"), PNG), (entry("d/b.png", tarfile.LNKTYPE, "d/a.png"), b""), (entry("c.1.png"), PNG)
    )
    for _ in range(600):
        content = bytearray(sound)
        for _ in range(random_bytes.randint(1, 8)):
            content[random_bytes.randrange(len(content))] = random_bytes.randrange(256)
        read(tmp_path, bytes(content))


def test_a_fault_of_the_account_is_an_error():
    with pytest.raises(ShardError, match=r"0\.tar: 2 members were seen, but 1 are accounted for"):
        Account(n_seen=2, n_rows=1).require_balance("0.tar")


def test_a_sample_that_links_make_huge_is_a_rejection(tmp_path, monkeypatch):
    monkeypatch.setattr("curation_assets.formats.tar.members.MOST_SAMPLE_BYTES", 3 * len(PNG))
    links = [(entry(f"a.{n}.bin", tarfile.LNKTYPE, "a.png"), b"") for n in range(5)]
    content = tar_of(
        (entry("a.png"), PNG),
        *links,
        (entry("b.png"), PNG),
        (entry("b.mp4"), bytes(4 * len(PNG))),
        (entry("c.png"), PNG),
    )
    results, account = read(tmp_path, content)
    assert summary(results) == ["a: unreadable_member", "b: unreadable_member", "c"]
    limit = 3 * len(PNG)
    remedy = f"more than {limit:,}: remove it from the tar, or shrink it"
    assert [result.detail for result in results[:2]] == [
        f"a.2.bin makes a sample of {4 * len(PNG):,} bytes, {remedy}",
        f"b.mp4 makes a sample of {4 * len(PNG):,} bytes, {remedy}",
    ]
    assert (account.n_seen, account.n_parts, account.left_out.total) == (9, 6, 0)


def test_json_of_too_many_bytes_is_a_rejection(tmp_path, monkeypatch):
    monkeypatch.setattr("curation_assets.formats.webdataset.MOST_JSON_BYTES", 10)
    results, _ = read(tmp_path, tar_bytes([("a.png", PNG), ("a.json", b'{"a": "0123456789"}')]))
    assert [result.detail for result in results] == ["a.json: 19 bytes of JSON are above the limit of 10"]
