"""Figures of partitions, as they are shown on their materializations."""

import dagster as dg
import pytest

from curation_assets.defs.metadata import (
    add_partition_metadata,
    frontier_metadata,
    probe_metadata,
    table,
)
from curation_assets.report.comparison import Figure, FrontierLine, Key, LabelLoss, ProbeRow, ProbeSummary

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


def test_a_frontier_has_its_curves_and_a_line_for_each_subset() -> None:
    lines = [
        FrontierLine(
            Key("kind", "effective_labels"), "random", [10, 20], [Figure(3.14159, 0.1), Figure(4.0, None)]
        ),
        FrontierLine(Key(None, "vendi"), "random", [10], [Figure(5.0, 0.1)]),
    ]
    metadata = frontier_metadata(lines)
    assert metadata["frontier"].value.startswith("![measures of subsets by size](data:image/png;base64,")
    # A measure that was not taken at a size is an empty field: the records of a table are alike.
    assert [dict(record.data) for record in metadata["subsets"].records] == [
        {"size": 10, "subset": "random", "Effective labels (kind)": 3.142, "Vendi score": 5.0},
        {"size": 20, "subset": "random", "Effective labels (kind)": 4.0, "Vendi score": ""},
    ]


def test_a_probe_has_its_accuracies_and_the_labels_that_lose() -> None:
    rows = [
        ProbeRow("random", False, [Figure(0.5, 0.1), None]),
        ProbeRow("level_2", True, [Figure(0.6, 0.1), None]),
    ]
    losses = [LabelLoss("cat", 0.75, 0.5, 4)]
    metadata = probe_metadata([ProbeSummary("small", ["nearest_neighbour", "loss"], rows, losses, 1, 2)])
    assert metadata["probes"].value.startswith("![what is learnt from each kind of subset]")
    assert [dict(record.data) for record in metadata["accuracy"].records] == [
        {
            "target": "small",
            "subset": "random",
            "is_the_target": "False",
            "nearest_neighbour": 0.5,
            "loss": "",
        },
        {
            "target": "small",
            "subset": "level_2",
            "is_the_target": "True",
            "nearest_neighbour": 0.6,
            "loss": "",
        },
    ]
    assert [dict(record.data) for record in metadata["losses"].records] == [
        {"target": "small", "label": "cat", "random": 0.75, "chosen": 0.5, "n_test_samples": 4}
    ]
    assert probe_metadata([]) == {}
