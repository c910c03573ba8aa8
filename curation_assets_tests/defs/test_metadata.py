"""Figures of partitions, as they are shown on their materializations."""

import dagster as dg
import pytest

from curation_assets.defs.metadata import add_partition_metadata, table

KEYS = ["a", "b", "c"]
SHARDS = dg.DynamicPartitionsDefinition(name="shards")


def figures_by_partition(asset: dg.AssetsDefinition) -> dict[str | None, dict[str, object]]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("shards", KEYS)
        tags = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}
        assert dg.materialize([asset], instance=instance, tags=tags).success
        records = instance.fetch_materializations(asset.key, limit=10).records
        return {
            record.partition_key: {
                name: value.value for name, value in record.asset_materialization.metadata.items()
            }
            for record in records
        }


def test_it_says_what_dagsters_own_call_says_without_listing_partitions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = {key: {"n_rows": i, "name": key} for i, key in enumerate(KEYS)}

    @dg.asset(name="rows", partitions_def=SHARDS, backfill_policy=dg.BackfillPolicy.single_run())
    def one_by_one(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        for key, metadata in figures.items():
            context.add_asset_metadata(metadata, partition_key=key)
        return dg.MaterializeResult(metadata={"common": 1})

    listed: list[str] = []

    @dg.asset(name="rows", partitions_def=SHARDS, backfill_policy=dg.BackfillPolicy.single_run())
    def together(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with monkeypatch.context() as patch:
            patch.setattr(
                dg.DynamicPartitionsDefinition, "get_partition_keys", lambda *_, **__: listed.append("all")
            )
            add_partition_metadata(context, figures)
        return dg.MaterializeResult(metadata={"common": 1})

    expected = figures_by_partition(one_by_one)
    assert expected["b"] == {"n_rows": 1, "name": "b", "common": 1}
    assert figures_by_partition(together) == expected
    assert not listed


def test_a_table_without_rows_is_left_out() -> None:
    assert table("rows", []) == {}
    records = table("rows", [{"shard": "a", "score": 0.5}])["rows"].records
    assert [dict(record.data) for record in records] == [{"shard": "a", "score": 0.5}]
