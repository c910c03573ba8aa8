"""tree and drift: the tree that stands, and whether what arrived since still fits it."""

import dagster as dg
import polars as pl

from curation_assets.defs.assets.base import HIERARCHY, PoolGraph
from curation_assets.defs.resources import CurationResource
from curation_assets.defs.run.step_run import Report, StepRun
from curation_assets.steps.tree.archive import keep_tree
from curation_assets.steps.tree.drift import measure_pool_drift
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.tables import Drift, Tree

_ROWS_SHOWN = 20
_FIGURES = ("score", "distance_shift", "beyond_radius_share", "mass_shift")


def build_tree(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that archives the tree and maps the last one's clusters to it."""

    @graph.asset(
        "tree",
        lane=HIERARCHY,
        kinds={"parquet"},
        description="The frozen tree, by version: earlier ones stay readable, and a table per level says which "
        "of its clusters the rows of the last tree's clusters are in now.",
    )
    def tree(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        run = StepRun(context, curation, graph.spec, graph.steps["tree"])

        def produce(writer: OutputWriter, report: Report) -> None:
            report(0.1, "archiving the tree")
            version, rows = run.standing_tree()
            keep_tree(graph.spec, run.storage, version, rows.reason, writer)

        return run.once(produce, extra_metadata=lambda: _tree_metadata(run.storage.tree()))

    return tree


def _tree_metadata(tree: Tree) -> dict[str, object]:
    facts, level_1 = tree.require_facts(), Tree.cluster_map(1)
    metadata: dict[str, object] = {"versions": dg.MetadataValue.json(facts.summary["versions"])}
    if level_1.name in facts.files and facts.summary["previous_version"]:
        largest = level_1.of(tree).read().sort("n_rows", descending=True).head(_ROWS_SHOWN)
        records = [
            dg.TableRecord(row) for row in largest.with_columns(pl.col("share_of_old").round(3)).to_dicts()
        ]
        if records:
            metadata["old_to_new_level_1"] = dg.MetadataValue.table(records)
    return metadata


def build_drift(graph: PoolGraph) -> dg.AssetsDefinition:
    """The asset that measures every shard against the fit and decides whether the tree stays."""

    @graph.asset(
        "drift",
        lane=HIERARCHY,
        kinds={"parquet"},
        description="How the rows of each shard lie in the tree, compared with those it was fitted on; whether the "
        "policy of the pool keeps the tree (assign and re-select) or asks for a refit from level 1.",
    )
    def drift(context: dg.AssetExecutionContext, curation: CurationResource) -> dg.MaterializeResult:
        run = StepRun(context, curation, graph.spec, graph.steps["drift"])

        def produce(writer: OutputWriter, report: Report) -> None:
            report(0.1, "measuring shards")
            version, rows = run.standing_tree()
            known = _scores(run.storage.drift())
            decision = measure_pool_drift(graph.spec, run.storage, rows, version, writer)
            context.log.info(
                f"{decision.summary}: {'; '.join(decision.reasons) or 'within the policy'} (new rows "
                f"{decision.new_rows_share:.1%} of the fitted, highest drift score {decision.drift_score:.2f})"
            )
            writer.summary["n_observed"] = _observe(context, graph.spec.name, decision.shards, known)

        return run.once(produce, extra_metadata=lambda: _drift_metadata(run.storage.drift()))

    return drift


def _scores(drift: Drift) -> dict[str, float]:
    if drift.facts() is None:
        return {}
    return dict(drift.shards.read().filter(~pl.col("in_fit")).select("shard", "score").iter_rows())


def _observe(
    context: dg.AssetExecutionContext, pool: str, shards: pl.DataFrame, known: dict[str, float]
) -> int:
    """Show the figures of shards that came since the fit on their partitions of `embeddings`, once each."""
    new = [
        row for row in shards.filter(~pl.col("in_fit")).to_dicts() if known.get(row["shard"]) != row["score"]
    ]
    for row in new:
        figures = {f"drift/{name}": round(row[name], 4) for name in _FIGURES}
        context.log_event(
            dg.AssetObservation(dg.AssetKey([pool, "embeddings"]), partition=row["shard"], metadata=figures)
        )
    return len(new)


def _drift_metadata(drift: Drift) -> dict[str, object]:
    summary = drift.require_facts().summary
    shards = drift.shards.read().drop("assign_digest").sort("in_fit", "score", descending=[False, True])
    figures = pl.col("mean_distance", *_FIGURES).round(4)
    records = [
        dg.TableRecord(row | {"in_fit": str(row["in_fit"])})
        for row in shards.head(_ROWS_SHOWN).with_columns(figures).to_dicts()
    ]
    return {
        "decision": summary["decision"],
        "because": "; ".join(summary["reasons"]) or "within the policy",
        **({"shards": dg.MetadataValue.table(records)} if records else {}),
    }
