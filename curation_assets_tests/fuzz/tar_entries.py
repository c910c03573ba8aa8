"""Entries of tars in every dialect, written field by field: what `tarfile` would refuse to write is wanted here."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass

from hypothesis import strategies as st
from PIL import Image

BLOCK = 512


def _png(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), color).save(buffer, "PNG")
    return buffer.getvalue()


PNG = _png("red")
CONTENTS = st.sampled_from(
    [
        PNG, _png("blue"), b"", b"a text", b"{}", b'{"a": [1, NaN]}', b"[1]", b"{", b"\xff\xfe", b"\x00" * 600,
        b"BM" + bytes(40), b"P5 1 1 255 a", b"\xef\xbb\xbf{}", b'{"k": "\\ud800"}', b"[" * 300, PNG[:30],
    ]
)  # fmt: skip
NAMES = st.sampled_from(
    [
        b"a.png", b"a.png", b"a.json", b"a.txt", b"b.png", b"b.txt", b"b.cls", b"a.PNG", b"a.jpg", b"c.v1.png",
        b"c.v2.png", b"c.json", b"c.v1.json", b"s_0.95.png", b"s_0.97.png", b"d/a.png", b"./a.png", b"/abs.png",
        b"../up.png", b"d/../a.png", b".hidden.png", b"noextension", b"d/.png", b"__key__", b"_a.png", b"a.", b"a",
        b".", b"..", b"", b"\xff\xfe.png", b"\xc3\xbc.png", b"x\ny.png", b"x\ty.png", b"a b.png", b"n" * 99 + b".png",
        b"d/" * 120 + b"deep.png", b"n" * 5_000 + b".png", b"a.b.c.d.png", b"e.png.txt", b"PaxHeader/a.png",
    ]
)  # fmt: skip
DEVICES = (b"3", b"4", b"6")
LINKS = (b"1", b"2")
ODD_PAX = st.sampled_from(
    [
        {}, {b"mtime": b"1e400"}, {b"size": b"-1"}, {b"size": b"1152921504606846976"}, {b"path": b"\xff.png"},
        {b"path": b""}, {b"path": b"p.png"}, {b"linkpath": b"a.png"}, {b"hdrcharset": b"BINARY", b"path": b"\xff.png"},
        {b"comment": b"\n=\n"}, {b"uid": b"x"}, {b"GNU.sparse.map": b"0,1,x"}, {b"GNU.sparse.size": b"5"},
        {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"1099511627776"},
        {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": b"s.png"},
        {b"GNU.sparse.major": b"0", b"GNU.sparse.minor": b"1", b"GNU.sparse.map": b"0,4", b"GNU.sparse.size": b"9"},
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """Bytes of an entry, and whether a reader must tell its fate; None if that is unknown."""

    content: bytes
    counts: bool | None


def header(name: bytes, size: bytes, kind: bytes, link: bytes = b"", magic: bytes = b"ustar\x0000") -> bytes:
    """A block with a right checksum."""
    block = bytearray(BLOCK)
    block[:100] = name[:100].ljust(100, b"\0")
    block[100:124] = b"0000644\x000000000\x000000000\0"
    block[124:136] = size.ljust(12, b"\0")[:12]
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[157:257] = link[:100].ljust(100, b"\0")
    block[257:265] = magic
    return with_checksum(bytes(block))


def with_checksum(block: bytes) -> bytes:
    """A header whose checksum is that of its bytes."""
    summed = sum(block[:148]) + sum(block[156:BLOCK]) + 8 * 32
    return block[:148] + b"%06o\0 " % (summed % 8**6) + block[156:]


def octal(size: int) -> bytes:
    return b"%011o\0" % size


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def pax_header(values: dict[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header of POSIX for the next entry, or with kind `g` for all that follow."""
    body = b""
    for name, value in values.items():
        rest = b" " + name + b"=" + value + b"\n"
        length = len(rest)
        while len(b"%d" % length) + len(rest) != length:
            length = len(b"%d" % length) + len(rest)
        body += b"%d" % length + rest
    return header(b"PaxHeader", octal(len(body)), kind) + padded(body)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """GNU's way to give the next entry a name of any length."""
    return header(b"././@LongLink", octal(len(name) + 1), kind, magic=b"ustar  \0") + padded(name + b"\0")


def gnu_sparse(name: bytes, pieces: list[tuple[int, int]], stored: bytes, real: int) -> bytes:
    """A file with holes in GNU's old layout; at most four pieces."""
    block = bytearray(header(name, octal(len(stored)), b"S", magic=b"ustar  \0"))
    for i, (start, length) in enumerate(pieces[:4]):
        block[386 + 24 * i : 410 + 24 * i] = octal(start) + octal(length)
    block[483:495] = octal(real)
    return with_checksum(bytes(block)) + padded(stored)


@st.composite
def entries(draw: st.DrawFn, sound: bool) -> Entry:
    """One entry, with the headers that belong to it.

    Args:
        draw: hypothesis's.
        sound: whether every reader must agree on what it is.
    """
    name, content = draw(NAMES), draw(CONTENTS)
    ways = ["ustar", "gnu", "pax", "sparse", "kind", "folder"]
    how = draw(st.sampled_from(ways if sound else [*ways, "pax odd", "size", "global"]))
    if how == "folder":
        return Entry(header(name or b"d", octal(0), b"5"), False)
    if how == "global":
        return Entry(pax_header(draw(ODD_PAX), b"g"), None)
    if how == "sparse":
        pieces = draw(st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 600)), max_size=4))
        real = draw(st.sampled_from([0, 700, 10_000, 2**33 - 1]))
        stored = bytes(sum(length for _, length in pieces))
        return Entry(gnu_sparse(name, pieces, stored, real), True if name and len(name) <= 100 else None)
    if how == "size":
        sizes = [b"77777777777\0", b"-0000000001\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"zzz", b""]
        return Entry(header(name, draw(st.sampled_from(sizes)), b"0") + padded(content), None)
    if how == "kind":
        known_kinds = [*DEVICES, *LINKS]
        odd_kinds = [b"7", b"\0", b"A", b"V", b"M", b"N", b"K", b"D", b"\xff"]
        kind = draw(st.sampled_from(known_kinds if sound else [*known_kinds, *odd_kinds]))
        link = draw(NAMES) if kind in LINKS else b""
        known = kind in known_kinds
        stored = b"" if known else padded(content)
        counts = True if known else None
        return Entry(header(name, octal(0 if known else len(content)), kind, link) + stored, counts)
    block = header(name, octal(len(content)), b"0") + padded(content)
    if how == "gnu":
        return Entry(long_name(name) + block, True)
    if how == "pax":
        is_text = b"\xff" not in name
        return Entry(pax_header({b"path": name} if is_text else {}) + block, True if is_text else None)
    if how == "pax odd":
        return Entry(pax_header(draw(ODD_PAX)) + block, None)
    return Entry(block, True)


def mended(content: bytes) -> bytes:
    """A damaged tar in which the headers' checksums are right."""
    out = bytearray(content)
    for start in range(0, len(out) - BLOCK + 1, BLOCK):
        block = bytes(out[start : start + BLOCK])
        if block[257:262] == b"ustar":
            out[start : start + BLOCK] = with_checksum(block)
    return bytes(out)


def tar_of(*entries: bytes) -> bytes:
    return b"".join(entries) + bytes(2 * BLOCK)


def dialects() -> list[bytes]:
    """Small valid tars: plain, with long names, with links and holes, joined."""
    found = []
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
            for name, content in [
                ("a.png", PNG),
                ("a.json", b"{}"),
                ("b/c.v1.png", PNG),
                ("ü" * 45, b"text"),
            ]:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        found.append(buffer.getvalue()[: 16 * BLOCK])
    odd = tar_of(
        header(b"a.png", octal(len(PNG)), b"0") + padded(PNG),
        header(b"l.png", octal(0), b"1", b"a.png"),
        header(b"m.png", octal(0), b"2", b"a.png"),
        gnu_sparse(b"s.png", [(0, 512), (2048, 512)], padded(PNG) + bytes(512), 4096),
        long_name(b"n" * 300 + b".png") + header(b"n", octal(len(PNG)), b"0") + padded(PNG),
        pax_header({b"path": "é".encode() * 90 + b".png"}) + header(b"e", octal(len(PNG)), b"0") + padded(PNG),
        pax_header(
            {
                b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": b"t.png",
                b"GNU.sparse.realsize": b"2000",
            }
        ) + header(b"t", octal(BLOCK + 100), b"0") + padded(b"1\n0\n100\n") + padded(PNG[:100].ljust(100)),
    )  # fmt: skip
    return [*found, odd, odd + bytes(3 * BLOCK) + found[0]]
