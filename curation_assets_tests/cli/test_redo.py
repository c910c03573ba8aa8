"""An order to make steps again outlives its process."""

from __future__ import annotations

from pathlib import Path

from curation_assets.cli.redo import Redo
from curation_assets_tests.projects import Project


def test_the_same_order_is_continued_another_replaces_it(tmp_path: Path) -> None:
    home = Project(tmp_path).home
    first = Redo(home, "p", ["backfill", "level_2", None, ["a", "b"]])
    assert not first.is_continued
    same = Redo(home, "p", ["backfill", "level_2", None, ["a", "b"]])
    assert (same.is_continued, same.since) == (True, first.since)
    assert not Redo(home, "another", ["backfill", "level_2", None, ["a", "b"]]).is_continued
    other = Redo(home, "p", ["backfill", "level_3", None, None])
    assert (other.is_continued, other.since > first.since) == (False, True)
    other.finish()
    assert not Redo(home, "p", ["backfill", "level_3", None, None]).is_continued


def test_a_damaged_order_is_forgotten(tmp_path: Path) -> None:
    home = Project(tmp_path).home
    Redo(home, "p", ["x"])
    [stored] = (home.dagster_state / "redo").iterdir()
    for text in ("", "{", "[]", '{"order": ["x"]}'):
        stored.write_text(text)
        assert not Redo(home, "p", ["x"]).is_continued
