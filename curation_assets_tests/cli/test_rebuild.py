"""An order to rebuild steps outlives its process."""

from __future__ import annotations

from pathlib import Path

from curation_assets.cli.rebuild import Rebuild
from curation_assets_tests.projects import Project


def test_the_same_order_is_resumed_another_replaces_it(tmp_path: Path) -> None:
    home = Project(tmp_path).home
    first = Rebuild(home, "p", ["backfill", "level_2", None, ["a", "b"]])
    assert not first.is_resumed
    same = Rebuild(home, "p", ["backfill", "level_2", None, ["a", "b"]])
    assert (same.is_resumed, same.since) == (True, first.since)
    assert not Rebuild(home, "another", ["backfill", "level_2", None, ["a", "b"]]).is_resumed
    other = Rebuild(home, "p", ["backfill", "level_3", None, None])
    assert (other.is_resumed, other.since > first.since) == (False, True)
    other.finish()
    assert not Rebuild(home, "p", ["backfill", "level_3", None, None]).is_resumed


def test_a_damaged_order_is_forgotten(tmp_path: Path) -> None:
    home = Project(tmp_path).home
    Rebuild(home, "p", ["x"])
    [stored] = (home.dagster_state / "redo").iterdir()
    for text in ("", "{", "[]", '{"order": ["x"]}'):
        stored.write_text(text)
        assert not Rebuild(home, "p", ["x"]).is_resumed
