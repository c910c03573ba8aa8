"""What of a pool could not be used, by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from curation_assets.defs.checks import CHECKS
from curation_assets.formats.base import SourceFile
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.damage import (
    DamagedFile,
    Rejections,
    damage_lines,
    damaged_files,
    lost_files,
    rejections_by_shard,
    set_aside_lines,
    total_rejections,
)
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import LEFT_OUT_FILE, Shard, load_left_out, save_left_out
from curation_assets.storage.tables import RawPool
from curation_assets_tests.projects import spec_of


def shard(key: str, set_aside: str = "") -> Shard:
    return Shard(key, (SourceFile(f"{key}.tar", 10, "1"),), set_aside)


def store(storage: PoolStorage, entry: Shard, reasons: list[str | None]) -> str:
    """The raw pool of a shard whose samples are rejected for these reasons; its digest."""
    rows = [
        {"file": entry.files[0].path, "reason": reason, "detail": "cut" if reason else None}
        for reason in reasons
    ]
    rejections = Counter(reason for reason in reasons if reason)
    output = storage.output("raw_pool", entry.key)
    with output.writing(Recipe({}, {"source": entry.source_digest}, "1")) as writer:
        columns = {name: RawPool.samples.schema[name] for name in ("file", "reason", "detail")}
        RawPool.samples.write(writer, pl.DataFrame(rows, schema=columns))
        writer.summary.update(n_rows=len(rows), rejections=dict(rejections))
    return output.require_facts().digest


def embed(storage: PoolStorage, key: str, raw: str, **rejections: int) -> None:
    with storage.output("embeddings", key).writing(Recipe({}, {"raw_pool": raw}, "1")) as writer:
        writer.summary.update(rejections=rejections)


@pytest.fixture
def storage(tmp_path: Path) -> PoolStorage:
    """Four shards: a cut file, too many rejections, one that was never read, and one of empty files."""
    storage = PoolStorage(str(tmp_path), "p")
    shards = [shard("a"), shard("b"), shard("c", "failed twice"), shard("d")]
    storage.save_shards(shards)
    a = store(storage, shards[0], [None, None, None, "truncated_file", "truncated_file"])
    b = store(storage, shards[1], [None, None, "not_an_image", "download_failed", "download_failed"])
    store(storage, shards[3], ["empty_file"])
    embed(storage, "a", "of other samples", corrupt_image=99)
    embed(storage, "b", b, corrupt_image=1)
    assert a != b
    return storage


def test_a_share_leaves_out_what_could_not_be_downloaded() -> None:
    assert Rejections(4, Counter(not_an_image=1, download_failed=2)).share == 0.5
    assert Rejections(2, Counter(download_failed=2)).share == 0
    assert Rejections(0, Counter()).share == 0


def test_damaged_files_are_named_once_with_their_reason(storage: PoolStorage) -> None:
    files = damaged_files(spec_of(), storage)
    assert files == [
        DamagedFile("a", "a.tar", "truncated_file", "cut"),
        DamagedFile("c", "c.tar", "set aside", "failed twice"),
        DamagedFile("d", "d.tar", "empty_file", "cut"),
    ]
    assert [file.is_merely_empty for file in files] == [False, False, True]
    folder = spec_of(source={"format": "folder", "path": "raw", "modality": "image"})
    assert [file.shard for file in damaged_files(folder, storage)] == ["c"]


def test_rejections_of_both_steps_are_counted_by_shard(storage: PoolStorage) -> None:
    found = rejections_by_shard(storage)
    assert list(found) == ["a", "b", "d"]
    assert found["a"].reasons == {"truncated_file": 2}, "embeddings of other samples do not count"
    assert found["b"].share == pytest.approx(2 / 3)
    every = total_rejections(found)
    assert (every.n_samples, every.reasons.total()) == (11, 7)


def test_lines_for_people(storage: PoolStorage, tmp_path: Path) -> None:
    first, *others = [*damage_lines(spec_of(), storage), *set_aside_lines(storage)]
    assert first.startswith("rejected: 7 of 11 samples (truncated_file: 2, download_failed: 2, ")
    assert others == [
        "damaged: a.tar (truncated_file: cut)",
        "damaged: c.tar (set aside: failed twice)",
        "curated without shard c: failed twice",
    ]
    assert not list(damage_lines(spec_of(), PoolStorage(str(tmp_path / "other"), "p")))


def test_the_checks_are_red_and_name_what_is_wrong(storage: PoolStorage) -> None:
    pool = PoolAccess(spec_of(), storage)
    readable = CHECKS["files_are_readable"].evaluate(pool)
    assert (readable.passed, readable.severity.value) == (False, "ERROR")
    assert str(readable.description).startswith("3 files are damaged or empty: a.tar (truncated_file: cut); ")
    few = CHECKS["rejections_are_few"].evaluate(pool)
    assert not few.passed
    assert str(few.description).startswith(
        "2 of 3 shards have more rejected samples than source.max_rejected_share = 50%: d (100%; empty_file: 1); b (67%"
    )
    assert few.metadata["rejections/truncated_file"].value == 2


def test_files_that_are_merely_empty_are_a_warning(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    storage.save_shards([shard("d")])
    store(storage, shard("d"), ["empty_file"])
    check = CHECKS["files_are_readable"].evaluate(PoolAccess(spec_of(), storage))
    assert (check.passed, check.severity.value) == (False, "WARN")


def test_a_sound_pool_passes(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    storage.save_shards([shard("a")])
    store(storage, shard("a"), [None, None, None, "not_an_image"])
    pool = PoolAccess(spec_of(), storage)
    assert CHECKS["files_are_readable"].evaluate(pool).passed
    few = CHECKS["rejections_are_few"].evaluate(pool)
    assert few.passed
    assert few.description == "25.0% of 4 samples are rejected"
    strict = PoolAccess(spec_of(source={"path": "raw", "max_rejected_share": 0.1}), storage)
    assert not CHECKS["rejections_are_few"].evaluate(strict).passed


def test_what_is_left_out_is_said_with_the_damage(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    storage.save_shards([shard("a")])
    save_left_out(storage.folder, {"without a known extension": {".jp2": 8, ".heic": 6}})
    with storage.output("raw_pool", "a").writing(Recipe({}, {}, "1")) as writer:
        RawPool.samples.write(writer, RawPool.samples.empty())
        left_out = {"without a known extension": {"no extension": 2}}
        writer.summary.update(n_rows=0, rejections={}, left_out=left_out)
    assert list(damage_lines(spec_of(), storage)) == [
        "14 files without a known extension were left out: .jp2 8, .heic 6",
        "2 members without a known extension were left out: no extension 2",
    ]


def test_a_damaged_record_of_what_is_left_out_counts_as_none(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    for content in ("", "{", "[1]", '{"a": 1}'):
        storage.folder.mkdir(parents=True, exist_ok=True)
        (storage.folder / LEFT_OUT_FILE).write_text(content)
        assert load_left_out(storage.folder) == {}


def store_files(storage: PoolStorage, entry: Shard, reasons: list[tuple[int, str | None]]) -> None:
    """The raw pool of a shard: number of the file and reason of each row."""
    rows = [(entry.files[number].path, reason, None) for number, reason in reasons]
    columns = {name: RawPool.samples.schema[name] for name in ("file", "reason", "detail")}
    with storage.output("raw_pool", entry.key).writing(Recipe({}, {}, "1")) as writer:
        RawPool.samples.write(writer, pl.DataFrame(rows, schema=columns, orient="row"))
        found = Counter(reason for _, reason in reasons if reason)
        n_accepted = sum(reason is None for _, reason in reasons)
        writer.summary.update(n_rows=len(rows), n_accepted=n_accepted, rejections=dict(found))


def test_files_of_which_nothing_could_be_used_weigh_by_their_bytes(tmp_path: Path) -> None:
    storage = PoolStorage(str(tmp_path), "p")
    shards = [
        Shard("a", (SourceFile("a.tar", 100, "1"),)),
        Shard("b", (SourceFile("b.tar", 700, "1"),)),
        Shard("c", (SourceFile("c0.tar", 50, "1"), SourceFile("c1.tar", 100, "1"), SourceFile("c2.tar", 50, "1"))),
        Shard("d", (SourceFile("d.tar", 1, "1"),), "failed twice"),
    ]  # fmt: skip
    storage.save_shards(shards)
    store_files(storage, shards[0], [(0, None), (0, "corrupt_image")])
    store_files(storage, shards[1], [(0, "unreadable_file")])
    store_files(storage, shards[2], [(0, None), (1, "invalid_json"), (2, "download_failed")])
    lost = lost_files(spec_of(), storage)
    assert (lost.paths, lost.n_bytes, lost.of_files, lost.of_bytes) == (["b.tar", "c1.tar"], 800, 5, 1000)
    words = "of 2 of 5 files nothing could be used (80% of the bytes): b.tar, c1.tar"
    assert lost.words == words
    assert words in list(damage_lines(spec_of(), storage))
    assert (
        lost_files(spec_of(source={"format": "folder", "path": "raw", "modality": "image"}), storage).paths
        == []
    )
