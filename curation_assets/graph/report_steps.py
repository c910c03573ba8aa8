"""The steps of the last lane: what the targets are worth, and pictures of what came out."""

from __future__ import annotations

from curation_assets.graph.base import Lane, Step, Weight
from curation_assets.graph.upstream import admitted_rows, judges, of_levels
from curation_assets.pools import PoolSpec
from curation_assets.storage.tables import level_asset


def comparison_step(spec: PoolSpec) -> Step:
    """The step `comparison`."""
    counted = ["token_counts"] if spec.counts_tokens else []
    first = [level_asset(1, "initial")] if spec.levels[0].steps_at(1) else []
    return Step(
        name="comparison",
        version="1",
        inputs=(
            *("raw_pool", "embeddings", *admitted_rows(spec), *counted, *first, level_asset(1, "assign")),
            *(*of_levels(spec, "clusters"), "selection"),
        ),
        settings={"seed": spec.seed},
        lane=Lane.REPORT,
        weight=Weight.MEMORY,
        level=spec.n_levels,
        badges=("polars", "parquet"),
        description="Every target beside a random subset, flat k-means and every start level, all of its size: labels, "
        "diversity and coverage of the pool, with their spread over several draws, and the verdict.",
    )


def atlas_step(spec: PoolSpec) -> Step:
    """The step `atlas`."""
    shown = spec.atlas.model_dump(mode="json") if spec.atlas else {}
    return Step(
        name="atlas",
        version="1",
        inputs=("raw_pool", "embeddings", *of_levels(spec, "assign"), "selection", "ledger"),
        settings=shown | {"seed": spec.seed},
        lane=Lane.REPORT,
        weight=Weight.MEMORY,
        level=spec.n_levels,
        badges=("parquet", "scikitlearn"),
        description="Samples with clusters, fates, a 2-D projection and neighbours, in one table for Embedding Atlas.",
    )


def curation_report_step(spec: PoolSpec) -> Step:
    """The step `curation_report`."""
    cleaned = [*judges(spec), *admitted_rows(spec)]
    return Step(
        name="curation_report",
        version="4",
        inputs=(
            *("raw_pool", "embeddings", *of_levels(spec, "clusters"), *of_levels(spec, "assign")),
            *(*cleaned, "drift", "selection", "ledger", "comparison", *(["atlas"] if spec.atlas else [])),
        ),
        settings={"description": spec.description, "seed": spec.seed},
        lane=Lane.REPORT,
        weight=Weight.MEMORY,
        level=spec.n_levels,
        badges=("html",),
        description="What the pool looked like and what came out, in one self-contained HTML page.",
    )
