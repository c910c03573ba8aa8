"""evaluation_sets and contaminated: what must not be in the result, and the samples too close to it."""

from functools import lru_cache

import dagster as dg
import polars as pl

from curation_assets.defs.assets.base import INGEST, PoolGraph
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import Report, StepRun
from curation_assets.pools.device import resolve_device
from curation_assets.steps.cleaning.contaminated import EvaluationSamples, find_contaminated
from curation_assets.steps.cleaning.evaluation_sets import read_evaluation_sets, take_evaluation_listing
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import Contaminated, EvaluationSets

_ROWS_SHOWN = 20


def build_evaluation_sets(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that reads and encodes every evaluation set of the pool."""
    spec = graph.spec

    @graph.asset(
        "evaluation_sets",
        lane=INGEST,
        kinds={"torch", "numpy", "parquet"},
        description="Samples that must not be in the result: their digests, and embeddings as the pool has them.",
    )
    def evaluation_sets(
        context: dg.AssetExecutionContext, curation: CurationResource
    ) -> dg.MaterializeResult:
        run = StepRun(context, curation, spec, graph.steps["evaluation_sets"])
        readers = curation.evaluation_readers(spec)
        # Materialized from the UI it may be the first to look, or the only one since the files changed.
        take_evaluation_listing(spec, readers, run.storage)

        def produce(writer: OutputWriter, report: Report) -> None:
            names = list(readers)
            read_evaluation_sets(
                spec,
                readers,
                curation.encoder(spec) if spec.encoder else None,
                writer,
                on_progress=lambda name, done: report(names.index(name), f"{name}: {done:,} samples"),
            )

        def metadata() -> dict[str, object]:
            return _rejected_metadata(run.storage.evaluation_sets())

        return run.once(produce, total=len(readers), extra_metadata=metadata)

    return evaluation_sets


def build_contaminated(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that finds each shard's rows that are too close to an evaluation sample."""
    spec = graph.spec

    @graph.asset(
        "contaminated",
        lane=INGEST,
        kinds={"torch", "parquet"},
        description="Rows too close to an evaluation sample: by content, normalised text, pixels or cosine.",
    )
    def contaminated(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        run = StepRun(context, curation, spec, graph.steps["contaminated"])
        device = resolve_device(spec.fit_device, "fit_device")
        samples = lru_cache(maxsize=1)(lambda: EvaluationSamples.read(run.storage.evaluation_sets()))

        def produce(shard: Shard, writer: OutputWriter, report: Report) -> None:
            find_contaminated(spec, run.storage, shard.key, writer, samples=samples(), device=device)
            report(1.0, f"{writer.summary['n_contaminated']:,} of {writer.summary['n_rows']:,} rows")

        result = run.over_shards(produce)
        for key in context.partition_keys:
            shown = evidence_metadata(run.storage.contaminated(key))
            context.add_asset_metadata(shown, partition_key=key)
        return result

    return contaminated


def evidence_metadata(stored: Contaminated) -> dict[str, object]:
    """The strongest evidence of a shard as a table; nothing for a clean one."""
    columns = ["sample_id", "twin_set", "twin_id", "kind", "similarity"]
    closest = stored.evidence.read(*columns).sort("similarity", descending=True, maintain_order=True)
    rows = closest.head(_ROWS_SHOWN).with_columns(pl.col("similarity").cast(pl.Float64).round(4)).to_dicts()
    return {"evidence": dg.MetadataValue.table([dg.TableRecord(row) for row in rows])} if rows else {}


def _rejected_metadata(stored: EvaluationSets) -> dict[str, object]:
    rejected = stored.rejected.read("set", "sample_id", "file", "reason", "detail").head(_ROWS_SHOWN)
    rows = [dg.TableRecord(row) for row in rejected.to_dicts()]
    return {"rejected_samples": dg.MetadataValue.table(rows)} if rows else {}
