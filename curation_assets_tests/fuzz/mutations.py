"""Damage to valid files: flips, cuts, insertions and blocks that come twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

# Numbers at which length fields turn negative, wrap around or ask for everything.
_EDGES = [
    b"\xff" * 4, b"\xff" * 8, b"\x7f" + b"\xff" * 3, b"\xff" * 3 + b"\x7f", b"\0" * 4, b"\0" * 8, b"\x80" + bytes(3),
    bytes(3) + b"\x80", b"\0\0\0\1", b"\1\0\0\0", b"77777777777", b"99999999999", b"\x80" + bytes(10) + b"\xff",
]  # fmt: skip


def damaged(
    bases: Sequence[bytes], *, mend: Callable[[bytes], bytes] | None = None, most_edits: int = 5
) -> st.SearchStrategy[bytes]:
    """One of some valid files with a few edits.

    Args:
        bases: the valid files.
        mend: makes checksums right again, which is done to half of the files.
        most_edits: of one file.
    """
    edits = st.lists(
        st.tuples(
            st.sampled_from(["flip", "set", "edge", "cut", "insert", "twice", "zero", "end"]),
            st.integers(0, 2**32 - 1),
            st.integers(0, 255),
        ),
        min_size=1,
        max_size=most_edits,
    )

    def apply(base: bytes, edits: list[tuple[str, int, int]], is_mended: bool) -> bytes:
        content = bytearray(base)
        for kind, where, value in edits:
            _edit(content, kind, where, value)
        return mend(bytes(content)) if mend and is_mended else bytes(content)

    return st.builds(apply, st.sampled_from(bases), edits, st.booleans())


def _edit(content: bytearray, kind: str, where: int, value: int) -> None:
    at = where % (len(content) + 1)
    if kind == "flip" and at < len(content):
        content[at] ^= 1 << value % 8
    elif kind == "set" and at < len(content):
        content[at] = value
    elif kind == "edge":
        edge = _EDGES[value % len(_EDGES)]
        content[at : at + len(edge)] = edge
    elif kind == "cut":
        del content[at : at + 1 + value]
    elif kind == "insert":
        content[at:at] = bytes([value]) * (1 + value % 7)
    elif kind == "twice":
        content[at:at] = content[at : at + 1 + value]
    elif kind == "zero":
        stop = min(at + value, len(content))
        content[at:stop] = bytes(stop - at)
    elif kind == "end":
        del content[at:]
