"""selection and ledger: which samples are taken, and the fate of every other."""

import dagster as dg
import polars as pl

from curation_assets.defs.assets.base import BALANCE, PoolGraph
from curation_assets.defs.metadata import size_metadata
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import Report, StepRun
from curation_assets.steps.dataset.ledger import write_ledger
from curation_assets.steps.dataset.selection import select
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import Selection


def build_selection(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that draws every target of the pool."""

    @graph.asset(
        "selection",
        lane=BALANCE,
        kinds={"polars", "parquet"},
        description="Per target: its samples or tokens water-filled down the tree, and the rows that fill the quotas.",
    )
    def selection(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        run = StepRun(context, curation, graph.spec, graph.steps["selection"])

        def produce(writer: OutputWriter, report: Report) -> None:
            report(0.0, f"drawing {len(graph.spec.targets)} targets")
            select(graph.spec, run.storage, writer)

        return run.once(produce, extra_metadata=lambda: quota_metadata(run.storage.selection()))

    return selection


def quota_metadata(selection: Selection) -> dict[str, object]:
    """Balance of the first target's quotas over the top level's clusters, and a table of every target's levels."""
    quotas = selection.quotas.read()
    first = quotas.filter(pl.col("target") == quotas["target"][0])
    top = first.filter(pl.col("level") == pl.col("level").max())
    by_level = quotas.group_by("target", "level", "unit", maintain_order=True).agg(
        clusters=pl.len(), taken_from=(pl.col("quota") > 0).sum(), largest_quota=pl.col("quota").max()
    )
    records = [dg.TableRecord(row) for row in by_level.iter_rows(named=True)]
    return {
        "quotas": dg.MetadataValue.table(records),
        **size_metadata(top["quota"].to_numpy(), f"top level quotas in {first['unit'][0]}"),
    }


def build_ledger(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that gives every sample of a shard exactly one fate."""

    @graph.asset(
        "ledger",
        lane=BALANCE,
        kinds={"polars", "parquet"},
        description="One fate for every sample: selected, not selected, duplicate, contaminated or rejected, and why.",
    )
    def ledger(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        run = StepRun(context, curation, graph.spec, graph.steps["ledger"])

        def produce(shard: Shard, writer: OutputWriter, report: Report) -> None:
            write_ledger(graph.spec, run.storage, shard.key, writer)
            report(1.0, f"{writer.summary['n_rows']:,} samples")

        return run.over_shards(produce)

    return ledger
