"""Files that leave: few are taken out and kept for a while, many are confirmed first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.defs.run.driver import Driver
from curation_assets.defs.run.removals import require_few_removals, split_away
from curation_assets.errors import RemovalsError
from curation_assets.formats.base import SourceFile
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.shards import Shard, group_files, relisted
from curation_assets_tests.projects import make_project


def files(*numbers: int) -> list[SourceFile]:
    return [SourceFile(f"{number:03}.tar", 1, "1") for number in numbers]


def refused(known: list[Shard], now: list[SourceFile], per_shard: int, most: float = 0.1) -> str:
    try:
        require_few_removals(relisted(now, per_shard, known), known, "web", most)
    except RemovalsError as error:
        return str(error)
    return ""


def test_more_than_a_tenth_of_the_shards_is_refused() -> None:
    known = group_files(files(*range(30)), 1)
    assert not refused(known, files(*range(27)), 1)
    words = refused(known, files(*range(26)), 1)
    assert (
        "4 of the 30 files of pool 'web' have left the listing at once (of 4 of 30 shards: 026, 027, 028 and 1 more)"
        in words
    )
    assert "curation-assets run --pool web --accept-removals" in words
    assert not refused(known, files(*range(26)), 1, 0.2)
    assert not refused(known, files(0), 1, 1.0)


def test_one_shard_may_always_go() -> None:
    known = group_files(files(0, 1), 1)
    assert not refused(known, files(0), 1)


def test_files_that_leave_every_group_are_counted_too() -> None:
    known = group_files(files(*range(40)), 10)
    assert not refused(known, files(*range(1, 10), *range(11, 40)), 10)
    assert "20 of the 40 files" in refused(known, files(*range(0, 40, 2)), 10)


def test_shards_that_were_gone_already_do_not_count() -> None:
    gone = [
        Shard(shard.key, shard.files, gone_since="2026") for shard in group_files(files(*range(30, 60)), 1)
    ]
    known = [*group_files(files(*range(30)), 1), *gone]
    assert not refused(known, files(*range(28)), 1)


def test_what_is_gone_is_kept_for_a_week() -> None:
    [first, second] = group_files(files(0, 1), 1)
    old = Shard(second.key, second.files, gone_since="2020-01-01T00:00:00.000000+00:00")
    kept, removed = split_away([first, old])
    assert ([shard.key for shard in kept], removed) == (["000"], [old])
    assert kept[0].gone_since
    assert split_away([first], at_once=True)[0] == []


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """Three listed shards, each with embeddings and a ledger."""
    project = make_project(tmp_path, n_images=18, samples_per_shard=6)
    with dg.DagsterInstance.ephemeral() as instance:
        driver = Driver(project.home, project.spec, instance)
        driver.take_in_files()
        for shard in driver.storage.shards():
            for asset in ("embeddings", "ledger"):
                with driver.storage.output(asset, shard.key).writing(Recipe({}, {}, "1")) as writer:
                    writer.text("txt", shard.key)
        yield driver


def raw(driver: Driver, key: str) -> Path:
    return driver.home.folder / "data" / "raw" / "emoji" / f"{key}.tar"


def test_a_file_that_comes_back_finds_its_embeddings(driver: Driver) -> None:
    content = raw(driver, "00001").read_bytes()
    raw(driver, "00001").rename(raw(driver, "00001").with_suffix(".away"))
    lines = driver.take_in_files()
    assert "1 gone (00001)" in lines[0]
    assert "kept for 7 days" in lines[1]
    assert [shard.key for shard in driver.storage.all_shards()] == ["00000", "00002"]
    assert driver.ordered_shards() == ["00000", "00002"]
    assert driver.storage.embedded("00001").facts() is not None
    assert driver.storage.ledger("00001").facts() is None, "nothing that is handed on holds it"
    assert driver.take_in_files() == []
    raw(driver, "00001").with_suffix(".away").rename(raw(driver, "00001"))
    assert "1 back (00001)" in driver.take_in_files()[0]
    assert driver.storage.embedded("00001").facts() is not None
    assert [shard.key for shard in driver.storage.shards()] == ["00000", "00001", "00002"]
    assert raw(driver, "00001").read_bytes() == content


def test_many_removals_change_nothing_until_they_are_accepted(driver: Driver) -> None:
    for key in ("00001", "00002"):
        raw(driver, key).unlink()
    before = (driver.storage.folder / "shards.json").read_bytes()
    with pytest.raises(RemovalsError, match="nothing was changed"):
        driver.take_in_files()
    assert (driver.storage.folder / "shards.json").read_bytes() == before
    assert driver.storage.ledger("00001").facts() is not None
    assert "2 gone (00001, 00002)" in driver.take_in_files(accept_removals=True)[0]
    assert driver.storage.embedded("00001").facts() is None
    assert [shard.key for shard in driver.storage.known_shards()] == ["00000"]


def test_accepting_later_removes_what_is_kept(driver: Driver) -> None:
    raw(driver, "00001").unlink()
    driver.take_in_files()
    assert driver.storage.embedded("00001").facts() is not None
    driver.take_in_files(accept_removals=True)
    assert driver.storage.embedded("00001").facts() is None
