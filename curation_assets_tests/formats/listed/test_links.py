"""Links of a pool's folder: those that stay inside are followed, those that lead out only if the pool says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curation_assets.errors import PoolSpecError
from curation_assets.formats import build_reader
from curation_assets.formats.accounts import left_out_lines
from curation_assets.pools.source import SOURCES


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    for name in ("pool/a.txt", "secret/b.txt", "secret/deep/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path / "pool"


def look(folder: Path, **source: Any) -> tuple[list[str], list[str]]:
    settings = {"format": "folder", "modality": "text", "path": str(folder), **source}
    listing = build_reader(SOURCES[settings["format"]](**settings), folder.parent).look()
    return [file.path for file in listing.files], list(left_out_lines(listing.left_out))


@pytest.mark.parametrize("target", ["{out}/b.txt", "../secret/b.txt", "chain.txt", "dot/../../secret/b.txt"])
def test_a_link_to_a_file_outside_is_named_and_not_read(pool, target):
    (pool / "dot").mkdir()
    (pool / "chain.txt").symlink_to(pool.parent / "secret" / "b.txt")
    (pool / "n.txt").symlink_to(target.format(out=pool.parent / "secret"))
    why = "to a file outside of source.path (source.follow_links: anywhere reads it) were left out"
    assert look(pool) == (["a.txt"], [f"2 links {why}: chain.txt 1, n.txt 1"])
    assert look(pool, follow_links="inside") == look(pool)
    assert look(pool, follow_links="anywhere") == (["a.txt", "chain.txt", "n.txt"], [])


def test_a_link_to_a_folder_outside_is_refused_until_the_pool_says_what_to_do(pool):
    (pool / "more").symlink_to("../secret")
    with pytest.raises(
        PoolSpecError,
        match=r"1 link to a folder \(more\) leads out of source.path.*follow_links to anywhere.*or to inside",
    ):
        look(pool)
    assert look(pool, follow_links="inside")[0] == ["a.txt"]
    assert "1 link to a folder outside of source.path" in look(pool, follow_links="inside")[1][0]
    assert look(pool, follow_links="anywhere")[0] == ["a.txt", "more/b.txt", "more/deep/c.txt"]
    # The pattern does not lead there.
    assert look(pool, pattern="*")[0] == ["a.txt"]


def test_a_pool_of_links_alone_is_an_error_that_says_so(pool):
    (pool / "a.txt").unlink()
    (pool / "b.txt").symlink_to("../secret/b.txt")
    with pytest.raises(
        PoolSpecError, match=r"every file .* is a link that leads out of it \(b.txt\): set source"
    ):
        look(pool)


def test_links_inside_are_followed_wherever_the_folder_itself_is_linked(pool):
    (pool / "x" / "y").mkdir(parents=True)
    (pool / "b.txt").symlink_to("a.txt")
    (pool / "x" / "c.txt").symlink_to(pool / "a.txt")
    (pool / "x" / "y" / "d.txt").symlink_to("../../a.txt")
    (pool / "z").symlink_to("x")
    inside = ["a.txt", "b.txt", "x/c.txt", "x/y/d.txt"]
    assert look(pool)[0] == inside
    (pool.parent / "elsewhere").symlink_to(pool)
    assert look(pool.parent / "elsewhere")[0] == inside
    with pytest.raises(PoolSpecError, match="every file"):
        look(pool.parent / "elsewhere" / "x")


def test_a_folder_whose_name_goes_on_is_outside(pool):
    (pool.parent / "pool2").mkdir()
    (pool.parent / "pool2" / "b.txt").write_text("b")
    (pool / "b.txt").symlink_to("../pool2/b.txt")
    assert look(pool)[0] == ["a.txt"]


def test_loops_end_and_links_to_nothing_are_known_as_such(pool):
    (pool / "loop").symlink_to(pool)
    (pool / "x").mkdir()
    (pool / "x" / "up").symlink_to("..")
    (pool / "self.txt").symlink_to("self.txt")
    (pool / "p.txt").symlink_to("q.txt")
    (pool / "q.txt").symlink_to("p.txt")
    (pool / "gone.txt").symlink_to("nothing.txt")
    assert look(pool)[0] == ["a.txt", "gone.txt", "p.txt", "q.txt", "self.txt"]
    assert look(pool, follow_links="anywhere")[0] == look(pool)[0]


@pytest.mark.parametrize(
    ("folder", "store"),
    [
        ("hub/datasets--x/snapshots/0f", "hub/datasets--x/blobs"),
        ("hub/datasets--x/snapshots/0f/data/train", "hub/datasets--x/blobs"),
        ("repository/data", "repository/.git/annex/objects/W0/x"),
        ("repository/data", "repository/.dvc/cache/files"),
    ],
)
def test_stores_that_tools_fill_with_links_are_followed(tmp_path, folder, store):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / store).mkdir(parents=True)
    (tmp_path / store / "0f3a").write_text("text")
    (tmp_path / folder / "a.txt").symlink_to(tmp_path / store / "0f3a")
    (tmp_path / "b").write_text("no")
    (tmp_path / folder / "b.txt").symlink_to(tmp_path / "b")
    assert look(tmp_path / folder)[0] == ["a.txt"]


def test_tables_of_rows_are_not_read_through_links_either(pool):
    (pool / "a.txt").rename(pool / "a.jsonl")
    (pool.parent / "secret" / "b.jsonl").write_text('{"text": "b"}\n')
    (pool / "b.jsonl").symlink_to("../secret/b.jsonl")
    files, [line] = look(pool, format="jsonl")
    assert files == ["a.jsonl"]
    assert line.endswith("was left out: b.jsonl 1")


def test_links_of_other_kinds_are_counted_as_such(pool):
    (pool / "b.bin").symlink_to("../secret/b.txt")
    (pool / ".c.txt").symlink_to("../secret/b.txt")
    assert look(pool)[1] == [
        "1 file named with '.' or '_' at the beginning was left out: .txt 1",
        "1 file without a known extension was left out: .bin 1",
    ]
