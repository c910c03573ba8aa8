"""Inputs that rotted are noticed before a step reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.storage import intact
from curation_assets.storage.intact import damaged_file
from curation_assets.storage.outputs import Output, Recipe
from curation_assets.storage.pool_storage import PoolStorage


def made(folder: Path, text: str = "rows") -> Output:
    output = PoolStorage(str(folder), "p").output("embeddings", "a")
    with output.writing(Recipe({}, {}, "1")) as writer:
        writer.text("first.txt", text)
        writer.text("small/second.txt", text)
    return output


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    output = made(tmp_path)
    facts = output.require_facts()
    assert damaged_file(output, facts) is None
    output.path("small/second.txt").write_text("rown")
    assert damaged_file(output, facts) == "embeddings/small/a.second.txt has other bytes than were written"


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = made(tmp_path)
    facts, read = output.require_facts(), []
    real = intact.file_digest
    monkeypatch.setattr(intact, "file_digest", lambda path: read.append(path) or real(path))
    for _ in range(3):
        assert damaged_file(output, facts) is None
    assert len(read) == 2
    again = made(tmp_path, "other")
    assert damaged_file(again, again.require_facts()) is None
    assert len(read) == 4


def test_an_output_that_was_replaced_meanwhile_or_is_lost_is_not_damaged(tmp_path: Path) -> None:
    output = made(tmp_path)
    facts = output.require_facts()
    made(tmp_path, "other")
    assert damaged_file(output, facts) is None
    output.path("first.txt").unlink()
    assert damaged_file(output, output.require_facts()) is None
