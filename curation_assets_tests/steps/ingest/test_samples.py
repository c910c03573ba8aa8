"""Samples behind rows of the pool, on a reader that holds them in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from curation_assets.errors import ShardError
from curation_assets.formats.accounts import Account
from curation_assets.formats.base import Listing, RawSample, Rejection, ShardReader, SourceFile
from curation_assets.pools.source import JsonlSource
from curation_assets.steps.ingest.samples import read_pool_samples
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import RawPool

TEXTS = JsonlSource(format="jsonl", path="texts")


class Held(ShardReader):
    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def look(self) -> Listing:
        return Listing([SourceFile("a.jsonl", 1, "1")])

    def read(self, file: str, account: Account | None = None) -> Iterator[RawSample | Rejection]:
        for i, text in enumerate(self.texts):
            yield RawSample(f"{i}", file, f"row {i}", i, text.encode(), {})


@pytest.fixture
def storage(tmp_path: Path) -> PoolStorage:
    """One shard of two texts, and a row of a line that is none."""
    storage = PoolStorage(str(tmp_path), "p")
    storage.save_shards([Shard("a", (SourceFile("a.jsonl", 1, "1"),))])
    digests = [hashlib.sha256(text).hexdigest() for text in (b"one", b"two")]
    with storage.output("raw_pool", "a").writing(Recipe({}, {}, "1")) as writer:
        rows = {
            "sample_id": ["0", "1", "2"],
            "file": ["a.jsonl"] * 3,
            "offset": [0, 1, None],
            "content_sha256": [*digests, None],
        }
        RawPool.samples.write(writer, pl.DataFrame(rows, schema_overrides={"offset": pl.Int64}))
    return storage


def test_samples_are_read_as_the_raw_pool_found_them(storage: PoolStorage) -> None:
    found = list(read_pool_samples(storage, Held("one", "two"), TEXTS, {"a": [0, 1, 2]}))
    assert [(row.raw_row, row.sample and row.sample.content) for row in found] == [
        (0, b"one"),
        (1, b"two"),
        (2, None),
    ]


@pytest.mark.parametrize(("texts", "n_gone"), [(("one",), 1), (("one", "TWO"), 1), ((), 2)])
def test_a_sample_that_is_gone_or_changed_is_an_error(
    texts: tuple[str, ...], n_gone: int, storage: PoolStorage
) -> None:
    with pytest.raises(
        ShardError, match=rf"shard 'a': .*\b{n_gone} samples .* run raw_pool again, with everything"
    ):
        list(read_pool_samples(storage, Held(*texts), TEXTS, {"a": [0, 1, 2]}))
    if texts:
        assert list(read_pool_samples(storage, Held(*texts), TEXTS, {"a": [0]}))
