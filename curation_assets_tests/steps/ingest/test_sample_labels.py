"""Labels that the settings ask for and no sample has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from curation_assets.errors import ShardError
from curation_assets.formats.accounts import Account
from curation_assets.formats.base import Listing, RawSample, Rejection, ShardReader, SourceFile
from curation_assets.steps.ingest.sample_labels import label_names, unknown_labels
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import LABEL_PREFIX, RawPool
from curation_assets_tests.projects import SMALL_POOL, spec_of


@pytest.fixture
def storage(tmp_path: Path) -> PoolStorage:
    """Two shards: `group` is in the second one only; `kind` is nowhere; `late` came into the settings afterwards."""
    storage = PoolStorage(str(tmp_path), "p")
    storage.save_shards([Shard(key, (SourceFile(f"{key}.tar", 1, "1"),)) for key in "ab"])
    for key, groups in {"a": [None, None], "b": [None, "x"]}.items():
        recipe = Recipe({"source": {"label_fields": ["group", "kind"]}}, {}, "1")
        with storage.output("raw_pool", key).writing(recipe) as writer:
            labels = {"group": groups, "kind": [None, None]}
            columns = {f"{LABEL_PREFIX}{name}": values for name, values in labels.items()}
            table = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
            RawPool.samples.write(writer, table)
    return storage


@pytest.mark.parametrize(
    ("fields", "unknown"), [(["group"], []), (["group", "kind"], ["kind"]), ([], []), (["late"], [])]
)
def test_a_label_that_no_sample_has_is_named(
    fields: list[str], unknown: list[str], storage: PoolStorage
) -> None:
    spec = spec_of(source={**SMALL_POOL["source"], "label_fields": fields})
    assert unknown_labels(spec, storage) == unknown


class Held(ShardReader):
    """The first file cannot be read; the second has a rejection before its sample."""

    def look(self) -> Listing:
        return Listing([])

    def read(self, file: str, account: Account | None = None) -> Iterator[RawSample | Rejection]:
        if file == "a.tar":
            raise ShardError("a.tar: no such file")
        yield Rejection("0", file, None, "empty_text", "")  # type: ignore[arg-type]
        yield RawSample("1", file, "row 1", 1, b"x", {}, {"group": "x", "emoji": "y"})


def test_what_the_first_sample_has_is_named(storage: PoolStorage) -> None:
    assert label_names(storage, Held()) == ["emoji", "group"]
