"""The table of files of a large pool: read shard by shard, changed together with its index, never read wrongly."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path

import pytest
from upath import UPath

from curation_assets.errors import CurationError, DamagedFileError
from curation_assets.formats.base import SourceFile
from curation_assets.storage.documents import write_document
from curation_assets.storage.listing.files_table import StoredFiles, tables_in
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import (
    SHARDS_FILE,
    Shard,
    group_files,
    is_to_be_saved,
    load_shards,
    relisted,
    save_shards,
)
from curation_assets.storage.verification import mark_for_repair, stored_files, verify_file

PER_SHARD = 400


def files(n: int = 1_200, version: str = "1") -> list[SourceFile]:
    return [SourceFile(f"{i // 100:02}/{i:05} é[*].jpg", i, version) for i in range(n)]


@pytest.fixture
def folder(tmp_path: Path) -> UPath:
    folder = UPath(tmp_path / "p")
    save_shards(folder, group_files(files(), PER_SHARD))
    return folder


def test_a_listing_is_read_shard_by_shard(folder: UPath) -> None:
    made = group_files(files(), PER_SHARD)
    stored = load_shards(folder)
    assert stored == made
    assert [shard.source_digest for shard in stored] == [shard.source_digest for shard in made]
    assert [shard.n_bytes for shard in stored] == [shard.n_bytes for shard in made]
    assert all(isinstance(shard.files, StoredFiles) for shard in stored)
    assert list(stored[1].files) == files()[PER_SHARD : 2 * PER_SHARD]
    assert stored[2].files[0] == files()[2 * PER_SHARD]
    assert stored[2].files[-2:] == tuple(files()[-2:])
    assert pickle.loads(pickle.dumps(stored[1])).files == made[1].files
    assert len((folder / SHARDS_FILE).read_text()) < 2_000, "files are not in the index"


def test_small_pools_and_shards_of_one_file_have_no_table(folder: UPath) -> None:
    for shards in (group_files(files(900), 300), group_files(files(), 1)):
        save_shards(folder, shards)
        assert tables_in(folder) == []
        assert load_shards(folder) == shards


def test_a_mark_on_a_shard_does_not_write_the_table_again(folder: UPath) -> None:
    [table] = tables_in(folder)
    before = table.stat().st_mtime_ns
    first, *others = load_shards(folder)
    marked = [Shard(first.key, first.files, "failed once"), *others]
    save_shards(folder, marked)
    assert load_shards(folder) == marked
    assert table.stat().st_mtime_ns == before
    assert [path.name for path in tables_in(folder)] == [table.name]


def test_who_read_an_earlier_index_still_finds_its_files(folder: UPath) -> None:
    first = load_shards(folder)
    for n in (1_300, 1_400, 1_500):
        save_shards(folder, group_files(files(n), PER_SHARD, load_shards(folder)))
    assert len(tables_in(folder)) == 2, "the one in use and the one before"
    assert list(first[0].files) == files()[:PER_SHARD]
    save_shards(folder, group_files(files(version="2"), PER_SHARD, load_shards(folder)))
    save_shards(folder, group_files(files(version="3"), PER_SHARD, load_shards(folder)))
    with pytest.raises(CurationError, match="listed anew"):
        list(first[1].files)


def test_the_form_of_earlier_releases_is_read_and_written_anew(folder: UPath) -> None:
    made = group_files(files(), PER_SHARD)
    old = [
        {
            "key": shard.key,
            "files": [
                {"path": file.path, "size_bytes": file.size_bytes, "version": file.version}
                for file in shard.files
            ],
            "set_aside": "",
        }
        for shard in made
    ]
    write_document(folder / SHARDS_FILE, {"shards": old})
    known = load_shards(folder)
    assert known == made
    change = relisted(files(), PER_SHARD, known)
    assert change.summary == ""
    assert is_to_be_saved(change.shards, known)
    save_shards(folder, change.shards)
    assert load_shards(folder) == made
    assert not is_to_be_saved(made, load_shards(folder))


def test_changes_are_told_apart_as_in_small_pools(folder: UPath) -> None:
    now = files()
    now[5] = SourceFile(now[5].path, 5, "2")
    change = relisted([*now[:800], SourceFile("zz.jpg", 1, "1")], PER_SHARD, load_shards(folder))
    [gone] = change.gone
    assert (change.new, len(change.changed), change.n_files_left) == (["zz"], 1, 400)
    assert [shard.key for shard in change.away] == [gone]


@pytest.mark.parametrize("seed", range(40))
def test_damage_is_never_read_as_files(folder: UPath, seed: int) -> None:
    drawn = random.Random(seed)
    [table] = tables_in(folder)
    content = bytearray(table.read_bytes())
    if seed % 2:
        bit = drawn.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
    else:
        del content[drawn.randrange(len(content)) :]
    table.write_bytes(bytes(content))

    def read() -> list[tuple[SourceFile, ...]]:
        return [tuple(shard.files) for shard in load_shards(folder)]

    try:
        assert read() == [tuple(shard.files) for shard in group_files(files(), PER_SHARD)]
    except DamagedFileError as error:
        words = str(error)
    else:
        words = "verify --pool p --repair"
    assert "verify --pool p --repair" in words
    assert "\n" not in words
    storage = PoolStorage(str(folder.parent), "p")
    [damage] = [found for file in stored_files(storage) if (found := verify_file(storage, file).damage)]
    assert damage.file.path == table.name
    mark_for_repair(storage, damage)
    assert storage.all_shards() == []


def test_a_listing_is_compared_with_a_damaged_table_only_if_that_shows(folder: UPath) -> None:
    [table] = tables_in(folder)
    table.unlink()
    with pytest.raises(DamagedFileError, match="is missing: remove it with"):
        relisted(files(), PER_SHARD, load_shards(folder))
    assert json.loads((folder / SHARDS_FILE).read_text())["table"]["name"] == table.name


def test_memory_file_systems_hold_tables_too() -> None:
    folder = UPath("memory://listing-table/p")
    shards = group_files(files(), PER_SHARD)
    save_shards(folder, shards)
    assert load_shards(folder) == shards
    assert list(load_shards(folder)[1].files) == list(shards[1].files)
