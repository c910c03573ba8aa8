"""A look at the files of a pool, which stores nothing."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from curation_assets.errors import PoolSpecError
from curation_assets.formats.listed.versions import earlier
from curation_assets.pools import PoolSpec
from curation_assets.steps.cleaning.evaluation_sets import list_evaluation_sets, take_evaluation_listing
from curation_assets.steps.comparison.labels_table import find_labels_table, take_labels_sight
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.listing import look_at_files, take_in_files
from curation_assets.storage.evaluation import (
    evaluation_files_changed,
    load_evaluation_digest,
    save_evaluation_listing,
)
from curation_assets.storage.labels import load_labels_digest, save_labels_sight
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import load_shards, save_shards
from curation_assets_tests.projects import SMALL_POOL


@pytest.fixture
def pool(tmp_path: Path) -> PoolAccess:
    for folder in ("raw", "hidden"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.tar").write_bytes(b"a")
    (tmp_path / "labels.csv").write_text("sample_id,label\nx,cat\n")
    spec = PoolSpec.model_validate(
        {
            "name": "p",
            **SMALL_POOL,
            "source": {"path": "raw"},
            "decontamination": {"evaluation_sets": [{"name": "hidden", "source": {"path": "hidden"}}]},
            "probe": {"labels": {"path": "labels.csv"}},
        }
    )
    return PoolAccess(spec, PoolStorage(str(tmp_path / "curated"), "p"), str(tmp_path))


def test_what_else_steps_read_is_looked_at_too(pool: PoolAccess, tmp_path: Path) -> None:
    pool.storage.save_shards(look_at_files(pool).change.shards)
    assert not look_at_files(pool).is_news, "before they are first seen, they are not made yet"
    take_evaluation_listing(pool)
    take_labels_sight(pool)
    assert not look_at_files(pool).is_news
    (tmp_path / "hidden" / "b.tar").write_bytes(b"b")
    (tmp_path / "labels.csv").write_text("sample_id,label\nx,dog\ny,cat\n")
    look = look_at_files(pool)
    assert look.is_news
    assert list(look.lines()) == [
        "changed since the last listing: files of the evaluation sets; the next run reads that again",
        "changed since the last listing: the table of labels; the next run reads that again",
    ]


def test_files_that_cannot_be_listed_are_said(pool: PoolAccess, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").unlink()
    [line] = look_at_files(pool).lines()
    assert line.startswith(
        "the files are not listed: probe.labels.path is 'labels.csv', but there is no such file"
    )


def test_many_removed_files_are_said_to_stop_the_next_run(pool: PoolAccess, tmp_path: Path) -> None:
    for name in "bcd":
        (tmp_path / "raw" / f"{name}.tar").write_bytes(b"x")
    pool.storage.save_shards(look_at_files(pool).change.shards)
    (tmp_path / "raw" / "b.tar").unlink()
    [line] = look_at_files(pool).lines()
    assert line == "since the last listing: 1 gone (b); the next run takes that in"
    (tmp_path / "raw" / "c.tar").unlink()
    [line] = look_at_files(pool).lines()
    assert line.startswith(
        "since the last listing: 2 gone (b, c); the next run stops at that: 2 of the 4 files"
    )
    assert "run --pool p --accept-removals" in line


def as_listed_before(folder: Path) -> None:
    """Rewrite what a pool recorded of its files into what earlier versions of the package recorded."""
    shards = load_shards(UPath(folder))
    save_shards(
        UPath(folder),
        [replace(shard, files=tuple(map(earlier, shard.files))) for shard in shards],
    )


def test_listings_of_earlier_versions_stay_valid(pool: PoolAccess, tmp_path: Path) -> None:
    pool.storage.save_shards(look_at_files(pool).change.shards)
    as_listed_before(tmp_path / "curated" / "p")
    [before] = pool.storage.all_shards()
    labels = find_labels_table(pool)
    assert labels
    save_labels_sight(pool.storage.folder, earlier(labels))
    sets = list_evaluation_sets(pool.evaluation_readers)
    old_sets = {name: [earlier(file) for file in files] for name, files in sets.items()}
    save_evaluation_listing(pool.storage.folder, old_sets)
    assert not look_at_files(pool).is_news
    assert evaluation_files_changed(pool.storage.folder, old_sets) is False
    digests = load_labels_digest(pool.storage.folder), load_evaluation_digest(pool.storage.folder)
    take_evaluation_listing(pool)
    take_labels_sight(pool)
    assert digests == (load_labels_digest(pool.storage.folder), load_evaluation_digest(pool.storage.folder))
    [after] = look_at_files(pool).change.shards
    assert after.source_digest == before.source_digest
    assert after != before, "what a replacement is known by is recorded from now on"
    pool.storage.save_shards([after])
    old = tmp_path / "raw" / "a.tar"
    shutil.copy2(old, tmp_path / "raw" / "new")
    (tmp_path / "raw" / "new").write_bytes(b"b")
    os.utime(tmp_path / "raw" / "new", ns=(0, old.stat().st_mtime_ns))
    (tmp_path / "raw" / "new").replace(old)
    assert look_at_files(pool).change.changed == ["a"]


def test_known_files_that_became_links_do_not_count_as_removed(pool: PoolAccess, tmp_path: Path) -> None:
    (tmp_path / "raw" / "b.tar").write_bytes(b"b")
    pool.storage.save_shards(look_at_files(pool).change.shards)
    (tmp_path / "disk").mkdir()
    (tmp_path / "raw" / "a.tar").rename(tmp_path / "disk" / "a.tar")
    (tmp_path / "raw" / "a.tar").symlink_to(tmp_path / "disk" / "a.tar")
    with pytest.raises(
        PoolSpecError, match=r"1 known file of the pool \(a.tar\) lead.*count as removed: set source"
    ):
        take_in_files(pool, ["b"], print)
    assert "count as removed" in look_at_files(pool).skipped
    for follow, changed, gone in (("inside", [], ["a"]), ("anywhere", ["a"], [])):
        source = pool.spec.source.model_copy(update={"follow_links": follow})
        said = PoolAccess(pool.spec.model_copy(update={"source": source}), pool.storage, str(tmp_path))
        change = look_at_files(said).change
        assert (change.changed, change.gone) == (changed, gone)
