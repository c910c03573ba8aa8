"""Files that repeat each other's ids, by hand."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from curation_assets.errors import PoolSpecError
from curation_assets.pools import SourceSettings
from curation_assets.pools.source import JsonlSource, WebDatasetSource
from curation_assets.steps.ingest.raw_pool import hash_id
from curation_assets.steps.ingest.repeated_ids import require_distinct_ids
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import RawPool
from curation_assets_tests.formats.tars import image_bytes, read_source, summary, tar_bytes

TARS = WebDatasetSource(path="raw")
Row = tuple[str, str | None, str | None]


@pytest.fixture
def storage(tmp_path: Path) -> PoolStorage:
    return PoolStorage(str(tmp_path), "p")


def store(storage: PoolStorage, key: str, *rows: Row) -> None:
    """A raw pool of rows with their id, content and reason."""
    table = RawPool.samples.empty().select("sample_id", "id_hash", "file", "content_sha256", "reason")
    lines = [(sample, hash_id(sample), f"{key}.tar", content, reason) for sample, content, reason in rows]
    with storage.raw_pool(key).writing(Recipe({}, {}, "1")) as writer:
        RawPool.samples.write(writer, pl.DataFrame(lines, schema=table.schema, orient="row"))


def numbered(begin: int, stop: int, content: str, reason: str | None = None) -> list[Row]:
    return [(f"{n:05}", f"{n:x}{content}".ljust(64, "0"), reason) for n in range(begin, stop)]


def refuse(storage: PoolStorage, *keys: str, source: SourceSettings = TARS) -> None:
    require_distinct_ids(storage, source, keys)


def test_two_downloads_that_count_from_zero_are_refused_with_the_remedy(storage: PoolStorage) -> None:
    store(storage, "a", *numbered(0, 20, "a"))
    store(storage, "b", *numbered(10, 30, "b"))
    expected = (
        r"10 of the 40 samples of pool 'p' have the id of another sample .*: '00010' is both in a\.tar and in b\.tar\. "
        r".* set source\.ids to file_and_key"
    )
    with pytest.raises(PoolSpecError, match=expected):
        refuse(storage, "a", "b")
    with pytest.raises(PoolSpecError, match=r"leave source\.id_field out"):
        refuse(storage, "a", "b", source=JsonlSource(format="jsonl", path="raw", id_field="id"))
    refuse(storage, "a")
    refuse(storage)


def test_copies_of_samples_are_no_clash(storage: PoolStorage) -> None:
    store(storage, "a", *numbered(0, 20, "a"))
    store(storage, "b", *numbered(0, 20, "a"))
    refuse(storage, "a", "b")


def test_samples_without_content_and_few_clashes_are_left_to_the_selection(storage: PoolStorage) -> None:
    store(storage, "a", *numbered(0, 200, "a"))
    store(storage, "b", *numbered(200, 400, "b"), *numbered(0, 4, "b"))
    refuse(storage, "a", "b")
    for key in ("c", "d"):
        store(storage, key, *[(f"{n}", None, None) for n in range(10)])
    refuse(storage, "c", "d")


def test_files_of_one_shard_are_compared_too_and_rejected_samples_are_not(storage: PoolStorage) -> None:
    store(storage, "a", *numbered(0, 20, "a"), *numbered(0, 20, "b", "duplicate_id"))
    with pytest.raises(PoolSpecError, match="20 of the 40 samples"):
        refuse(storage, "a")
    store(storage, "b", *numbered(0, 20, "a"), *numbered(0, 20, "b", "corrupt_image"))
    refuse(storage, "b")


def test_ids_may_begin_with_their_file(tmp_path: Path) -> None:
    members = [("0.png", image_bytes()), ("1.json", b"{}"), ("0.png", image_bytes("blue"))]
    source = WebDatasetSource(path="", ids="file_and_key")
    results = read_source(tmp_path, tar_bytes(members), source, "cc12m/00000.tar")
    assert summary(results) == [
        "cc12m/00000/0", "cc12m/00000/1: no_image_member", "cc12m/00000/0: duplicate_id",
    ]  # fmt: skip


def test_the_default_of_ids_is_in_no_recipe() -> None:
    assert "ids" not in TARS.model_dump(mode="json")
    assert WebDatasetSource(path="", ids="file_and_key").model_dump()["ids"] == "file_and_key"
