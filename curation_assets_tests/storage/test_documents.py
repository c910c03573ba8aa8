"""Documents that carry a digest of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from curation_assets.errors import DamagedFileError
from curation_assets.storage.documents import is_sealed, read_document, sealed, unsealed, write_document

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.text(max_size=6).filter(lambda key: key != "seal"), values, max_size=4)


@given(documents)
def test_a_sealed_document_reads_as_it_was(document: dict[str, object]) -> None:
    content = sealed(document).encode()
    assert unsealed(content) == document
    assert is_sealed(content)


@given(documents, st.data())
def test_any_flipped_bit_is_noticed(document: dict[str, object], data: st.DataObject) -> None:
    content = bytearray(sealed(document).encode())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match=r"."):
        unsealed(bytes(content))


@given(documents, st.data())
def test_any_cut_is_noticed(document: dict[str, object], data: st.DataObject) -> None:
    content = sealed(document).encode()
    with pytest.raises(ValueError, match=r"."):
        unsealed(content[: data.draw(st.integers(0, len(content) - 1))])


def test_a_damaged_document_is_named_with_its_remedy(tmp_path: Path) -> None:
    path = UPath(tmp_path / "shards.json")
    assert read_document(path, "list again") is None
    write_document(path, {"shards": []})
    assert read_document(path, "list again") == {"shards": []}
    path.write_text(path.read_text()[:-10])
    with pytest.raises(DamagedFileError, match=r"shards\.json is damaged .*: list again"):
        read_document(path, "list again")


def test_documents_without_a_seal_are_read() -> None:
    assert unsealed(b'{"a": 1}') == {"a": 1}
    assert unsealed(b'[{"version": "1"}]') == {"entries": [{"version": "1"}]}
    assert not is_sealed(b'{"a": 1}')
    with pytest.raises(ValueError, match="not a JSON object"):
        unsealed(b"3")
