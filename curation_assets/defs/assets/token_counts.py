"""token_counts: the tokens of each accepted sample, for targets in tokens."""

import dagster as dg

from curation_assets.defs.assets.base import INGEST, PoolGraph
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import Report, StepRun
from curation_assets.pools import PoolSpec
from curation_assets.pools.source import EmbeddingsSource
from curation_assets.steps.ingest.token_counts import count_tokens
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.shards import Shard


def build_token_counts(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that counts the tokens of each shard."""
    spec = graph.spec

    @graph.asset(
        "token_counts",
        lane=INGEST,
        kinds={"huggingface", "parquet"},
        description=f"Tokens of each accepted sample, counted by {_counted_by(spec)}.",
    )
    def token_counts(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        run = StepRun(context, curation, spec, graph.steps["token_counts"])
        reader = curation.reader(spec)

        def count(shard: Shard, writer: OutputWriter, report: Report) -> None:
            raw_pool = run.storage.raw_pool(shard.key)
            n_accepted = max(1, raw_pool.require_facts().summary["n_accepted"])
            count_tokens(
                reader,
                shard,
                raw_pool,
                curation.token_counter(spec),
                spec.source,
                writer,
                on_progress=lambda done: report(done / n_accepted, f"{done:,} of {n_accepted:,} samples"),
            )

        return run.over_shards(count)

    return token_counts


def _counted_by(spec: PoolSpec) -> str:
    if isinstance(spec.source, EmbeddingsSource):
        return f"whoever filled the column {spec.source.token_count_field}"
    return spec.tokenizer or f"the tokenizer of {spec.encoder_name}"
