"""JSON lines, plain and compressed."""

from __future__ import annotations

import gzip
import json
from unittest import mock

import pyarrow as pa
from hypothesis import strategies as st

from curation_assets.formats import compression
from curation_assets_tests.fuzz.harness import Arena
from curation_assets_tests.fuzz.mutations import damaged

SKIPPABLE = b"\x50\x2a\x4d\x18" + (6).to_bytes(4, "little") + b"a note"
NAMES = st.sampled_from(["text", "text", "text", "id", "label", "", "a.b", "é", "\x00", "\ud800"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**53, 2**64, -(2**63), 10**400, 1e308, -0.0, 1e16, float("nan"), float("inf")])
    | st.floats()
    | st.text(st.characters(), max_size=12)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
ODD_LINES = st.sampled_from(
    [
        b"", b" ", b"\t\r", b"\xef\xbb\xbf", b"null", b"[]", b'"text"', b"{", b"}", b"{}", b'{"text": "a"', b"\x00",
        b'{"text": "\xff"}', b'{"text": "\xed\xa0\x80"}', b'{"text": "\\ud800"}', b'{"text": "\\u0000"}',
        b'{"text": "a"} {"text": "b"}', b'{"text": 1}', b'{"text": "a", "text": "b"}', b'{"text": "a", "id": 1e999}',
        b'{"text": "a", "id": 1000001.0}', b'{"text": "a", "id": 9007199254740993.0}', b'{"text": "a", "id": true}',
        b'{"text": "a", "id": "\\n"}', b'{"text": "a", "id": ""}', b'{"text": "a", "id": -0.0}',
        b'{"text": "a", "n": ' + b"9" * 5_000 + b"}", b'{"text": "a", "id": ' + b"9" * 4_300 + b"}",
        b'{"text": "a", "x": ' + b"[" * 500 + b"]" * 500 + b"}", b"[" * 100_000, b'{"text": "' + b"a" * 70_000 + b'"}',
        b'{"text": "a", "x": ' + b"[" * 199 + b"]" * 199 + b"}", b"x" * 1_100_000,
    ]
)  # fmt: skip
LINES = ODD_LINES | st.dictionaries(NAMES, VALUES, max_size=4).map(
    lambda values: json.dumps({"text": "a", **values}).encode()
)
SOURCES = st.fixed_dictionaries(
    {
        "format": st.just("jsonl"),
        "id_field": st.sampled_from([None, "id", "text"]),
        "text_field": st.sampled_from(["text", "text", "label"]),
        "label_fields": st.sampled_from([[], ["label"], ["id", "a.b"]]),
        "max_text_bytes": st.sampled_from([10_000, 100]),
    }
)
SHORT_SOURCE = {"format": "jsonl", "id_field": "id", "label_fields": ["label"], "max_text_bytes": 10_000}
SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst", "zstd skipped": ".zst", "two": ".gz"}
BASE = b"".join(
    json.dumps({"id": n, "text": f"text {n} ü", "label": [n]}).encode() + b"\n" for n in range(40)
)


def packed(content: bytes, how: str) -> bytes:
    half = len(content) // 2
    if how == "gzip":
        return gzip.compress(content, mtime=0)
    if how == "two":
        return gzip.compress(content[:half], mtime=0) + gzip.compress(content[half:], mtime=0)
    if how.startswith("zstd"):
        return (SKIPPABLE if "skipped" in how else b"") + pa.compress(content, codec="zstd", asbytes=True)
    return content


def in_small_chunks() -> mock._patch:
    return mock.patch.object(compression, "_BUFFER_BYTES", 61)


def test_lines_of_odd_content(arena: Arena) -> None:
    def check(case) -> None:
        lines, end, how, source = case
        content = b"\n".join(lines) + end
        # A byte order mark is content of the first line only.
        n_lines = sum(
            bool((line.removeprefix(b"\xef\xbb\xbf") if not number else line).strip())
            for number, line in enumerate(lines)
        )
        name = f"a.jsonl{SUFFIXES[how]}"
        n_seen = n_lines if content else None
        arena.read(source, {name: packed(content, how)}, name, otherwise=in_small_chunks(), n_seen=n_seen)

    cases = st.tuples(
        st.lists(LINES, max_size=6),
        st.sampled_from([b"", b"\n", b"\n\n"]),
        st.sampled_from([*SUFFIXES]),
        SOURCES,
    )
    arena.explore(cases, 150, check)


def test_damaged_lines(arena: Arena) -> None:
    bases = [(packed(BASE, how), f"a.jsonl{suffix}") for how, suffix in SUFFIXES.items()]
    cases = st.sampled_from(bases).flatmap(lambda base: st.tuples(damaged([base[0]]), st.just(base[1])))

    def check(case: tuple[bytes, str]) -> None:
        arena.read(SHORT_SOURCE, {case[1]: case[0]}, case[1], otherwise=in_small_chunks())

    arena.explore(cases, 100, check)


def test_lines_damaged_before_they_are_packed(arena: Arena) -> None:
    cases = st.tuples(damaged([BASE]), st.sampled_from([*SUFFIXES]))

    def check(case: tuple[bytes, str]) -> None:
        name = f"a.jsonl{SUFFIXES[case[1]]}"
        arena.read(SHORT_SOURCE, {name: packed(*case)}, name, otherwise=in_small_chunks())

    arena.explore(cases, 100, check)
