"""Shards: groups of files that stay as they are when other files come and go."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from curation_assets.formats.base import SourceFile
from curation_assets.storage.shards import (
    Shard,
    group_files,
    load_known_shards,
    load_shards,
    relisted,
    save_shards,
)


def files(*names: str, version: str = "1") -> list[SourceFile]:
    return [SourceFile(f"{name}.tar", 1, version) for name in names]


def test_keys_come_from_the_files() -> None:
    assert [shard.key for shard in group_files(files("b", "a/x", "c"), 1)] == ["a__x", "b", "c"]
    assert [shard.key for shard in group_files(files("00", "01", "02"), 2)] == ["00-01", "02"]


def test_known_groups_stay_when_files_come_change_and_go() -> None:
    known = group_files(files("00", "02", "04", "06"), 2)
    now = [*files("00", "01", "02", "06"), *files("04", version="2")]
    shards = group_files(now, 2, known)
    assert [(shard.key, [file.path for file in shard.files]) for shard in shards] == [
        ("00-02", ["00.tar", "02.tar"]),
        ("01", ["01.tar"]),
        ("04-06", ["04.tar", "06.tar"]),
    ]
    before = {shard.key: shard.source_digest for shard in known}
    after = {shard.key: shard.source_digest for shard in shards}
    assert before["00-02"] == after["00-02"]
    assert before["04-06"] != after["04-06"]


def test_files_that_were_away_form_a_shard_with_a_free_name() -> None:
    known = group_files(files("part0", "part1", "part2"), 3)
    away = group_files(files("part1"), 3, known)
    assert [shard.key for shard in away] == ["part0-part2"]
    back = group_files(files("part0", "part1", "part2"), 3, away)
    assert [len(shard.files) for shard in back] == [1, 2]
    assert back[0].key == "part0-part2"
    assert back[1].key.startswith("part0-part2-")
    assert back == group_files(files("part0", "part1", "part2"), 3, back)


@given(st.sets(st.integers(0, 60), min_size=1), st.sets(st.integers(0, 60)), st.integers(1, 4))
def test_every_file_is_in_one_shard(first: set[int], second: set[int], per_shard: int) -> None:
    known = group_files(files(*[f"{i:02}" for i in first]), per_shard)
    shards = group_files(files(*[f"{i:02}" for i in second]), per_shard, known)
    assert sorted(file.path for shard in shards for file in shard.files) == [
        f"{i:02}.tar" for i in sorted(second)
    ]
    assert all(shard.files for shard in shards)


def test_the_list_is_kept(tmp_path: Path) -> None:
    folder = UPath(tmp_path)
    assert load_shards(folder) == []
    shards = group_files(files("a", "b", "c"), 2)
    save_shards(folder, shards)
    assert load_shards(folder) == shards


def test_a_new_listing_is_told_apart_and_leaves_unchanged_shards_set_aside() -> None:
    known = [Shard(shard.key, shard.files, "failed once") for shard in group_files(files("a", "b", "c"), 1)]
    change = relisted([*files("a", "d"), *files("b", version="2")], 1, known)
    assert (change.new, change.changed, change.gone) == (["d"], ["b"], ["c"])
    assert {shard.key: shard.set_aside for shard in change.shards} == {"a": "failed once", "b": "", "d": ""}
    assert change.summary == "1 new (d), 1 changed (b), 1 gone (c)"


def test_a_shard_that_was_gone_comes_back_with_its_files() -> None:
    known = group_files(files("00", "01", "02", "03"), 2)
    left = relisted(files("00", "01"), 2, known)
    assert (left.gone, left.n_files_left, [shard.key for shard in left.away]) == (["02-03"], 2, ["02-03"])
    kept = [*left.shards, Shard("02-03", known[1].files, gone_since="2026-01-01T00:00:00+00:00")]
    still = relisted(files("00", "01"), 2, kept)
    assert (still.summary, still.gone, [shard.key for shard in still.away]) == ("", [], ["02-03"])
    back = relisted(files("00", "01", "02", "03"), 2, kept)
    assert back.summary == "1 back (02-03)"
    assert back.shards == known
    assert not back.away


def test_a_new_shard_does_not_take_the_name_of_one_that_is_gone() -> None:
    [known] = group_files(files("a"), 1)
    gone = Shard(known.key, known.files, gone_since="2026-01-01T00:00:00+00:00")
    change = relisted([SourceFile("a.0.tar", 1, "1")], 1, [gone])
    assert change.new == ["a_0"]


def test_marks_are_kept(tmp_path: Path) -> None:
    first, second = group_files(files("a", "b"), 1)
    shards = [
        Shard(first.key, first.files, "failed once"),
        Shard(second.key, second.files, gone_since="2026"),
    ]
    save_shards(UPath(tmp_path), shards)
    assert load_known_shards(UPath(tmp_path)) == shards
    assert load_shards(UPath(tmp_path)) == shards[:1]
