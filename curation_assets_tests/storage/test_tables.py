"""Every table that the steps store has the declared columns, with their types and in their order."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from curation_assets.storage.files import StoredTable, Table
from curation_assets.storage.outputs import Output
from curation_assets_tests.steps.text_pool import TextPool


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> TextPool:
    pool = TextPool(tmp_path_factory.mktemp("pool"))
    pool.run()
    return pool


def stored_tables(output: Output) -> list[tuple[Table, StoredTable]]:
    declared = {name: getattr(type(output), name) for name in dir(type(output))}
    return [
        (table, table.of(output))
        for table in declared.values()
        if isinstance(table, Table) and table.name in output.require_facts().files
    ]


def test_stored_tables_have_the_declared_columns(pool: TextPool) -> None:
    storage, shard = pool.storage, "a"
    outputs: list[Output] = [
        *(of(shard) for of in (storage.raw_pool, storage.embedded, storage.contaminated, storage.admitted)),
        *(storage.ledger(shard), storage.assigned(1, shard), storage.assigned(2, shard)),
        *(storage.evaluation_sets(), storage.duplicates(), storage.resampled(1), storage.selection()),
    ]
    found = [(output, *tables) for output in outputs for tables in stored_tables(output)]
    assert len(found) == 17
    for output, declared, stored in found:
        schema = stored.read().schema
        assert {name: schema[name] for name in declared.schema} == declared.schema, (
            output.folder,
            stored.name,
        )
        named = [name for name in schema if name in declared.schema]
        assert named == list(declared.schema), (output.folder, stored.name)


def test_a_table_is_read_in_part_and_by_columns(pool: TextPool) -> None:
    rows = pool.storage.embedded("b").rows
    whole = rows.read()
    assert rows.read("id_hash", "raw_row").equals(whole.select("id_hash", "raw_row"))
    assert rows.column("sample_id").equals(whole["sample_id"])
    assert rows.part("sample_id", "b03").equals(whole.filter(pl.col("sample_id") == "b03"))
    assert Path(str(rows.path)).name == "b.rows.parquet"
