"""duplicates: samples that say the same as one that stays, across all shards."""

import dagster as dg

from curation_assets.defs.assets.base import INGEST, PoolGraph
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import Report, StepRun
from curation_assets.steps.cleaning.duplicate_groups import largest_groups
from curation_assets.steps.cleaning.duplicates import find_duplicates
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.tables import Duplicates

_GROUPS_SHOWN = 20


def build_duplicates(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that removes equal and nearly equal samples before anything is clustered."""

    @graph.asset(
        "duplicates",
        lane=INGEST,
        kinds={"numpy", "parquet"},
        description="Samples equal to another, or nearly so, across all shards: each with the kept sample it is a "
        "copy of and their similarity. Decisions on unchanged shards stand.",
    )
    def duplicates(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        run = StepRun(context, curation, graph.spec, graph.steps["duplicates"])
        # Asked for by name, it decides anew; because a shard came, only what that shard touches.
        anew = run.freshness().is_forced("duplicates", None)

        def produce(writer: OutputWriter, report: Report) -> None:
            find_duplicates(graph.spec, run.storage, writer, anew=anew, engine=run.engine, on_progress=report)

        return run.once(produce, extra_metadata=lambda: _metadata(run.storage.duplicates()))

    return duplicates


def _metadata(stored: Duplicates) -> dict[str, object]:
    groups = largest_groups(stored.evidence.read(), _GROUPS_SHOWN)
    records = [
        dg.TableRecord(
            {
                "kept": row["twin_id"],
                "in_shard": row["twin_set"],
                "removed": row["n_removed"],
                "lowest_similarity": round(row["lowest_similarity"], 4),
                "e.g.": row["members"][0]["sample_id"],
            }
        )
        for row in groups.iter_rows(named=True)
    ]
    return {"largest_groups": dg.MetadataValue.table(records)} if records else {}
