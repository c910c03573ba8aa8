"""The steps of the last lane: what the targets are worth, and pictures of what came out."""

from __future__ import annotations

from curation_assets.graph.base import ExtraInput, Lane, Step, Weight
from curation_assets.graph.upstream import admitted_rows, judges, of_levels, probe_figure
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


def _drawn_inputs(spec: PoolSpec) -> tuple[str, ...]:
    """What subsets are drawn from and measured on."""
    counted = ["token_counts"] if spec.counts_tokens else []
    return (
        *("embeddings", *admitted_rows(spec), *counted),
        *(level_asset(1, "assign"), *of_levels(spec, "clusters")),
    )


def probe_step(spec: PoolSpec) -> Step:
    """The step `probe`; the selection may depend on it, so it does not depend on the selection."""
    first = [level_asset(1, "initial")] if spec.levels[0].steps_at(1) else []
    probe, joined = spec.probe, spec.probe is not None and spec.probe.labels is not None
    from_source = ["raw_pool"] if spec.probe_label is not None and not joined else []
    # Every start level is probed, so the one that a target takes changes nothing, and a long command is not run again.
    rule = {"name", "size", "fraction", "tokens", "strategy", "evenness"}
    return Step(
        name="probe",
        version="1",
        inputs=(*from_source, *first, *_drawn_inputs(spec)),
        settings={
            "probe": probe.model_dump(mode="json", exclude={"timeout_seconds", "figure"}) if probe else {},
            "label_field": spec.probe_label,
            "targets": [target.model_dump(mode="json", include=rule) for target in spec.targets],
            "seed": spec.seed,
        },
        lane=Lane.REPORT,
        weight=Weight.MEMORY,
        level=spec.n_levels,
        extra_inputs=(ExtraInput.LABELS_TABLE,) if joined else (),
        # As for the selection: drift decides first.
        after=("tree", "drift"),
        badges=("scikitlearn", "parquet"),
        description="What is learnt from subsets of each target's size: a nearest-neighbour and a linear probe, tested "
        "on labelled samples that are in none of them, and the figures of the pool's own command.",
    )


def frontier_step(spec: PoolSpec) -> Step:
    """The step `frontier`."""
    target = spec.targets[0]
    probed = ["probe"] if target.asks_probe else []
    return Step(
        name="frontier",
        version="1",
        inputs=("raw_pool", *_drawn_inputs(spec), *probed),
        settings={
            "rule": target.model_dump(mode="json", include={"balance_from", "evenness", "strategy"}),
            "seed": spec.seed,
            **({"max_share": spec.max_share} if target.measures_levels else {}),
            **probe_figure(spec),
        },
        lane=Lane.REPORT,
        weight=Weight.MEMORY,
        level=spec.n_levels,
        after=("tree", "drift"),
        badges=("polars", "parquet"),
        description="Subsets of ten sizes, from 1 % to 80 % of the pool, drawn at random, by the paper's rule and by "
        "that of the first target: labels, diversity and coverage of the pool, to choose a size by.",
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
        version="6",
        inputs=(
            *("raw_pool", "embeddings", *of_levels(spec, "clusters"), *of_levels(spec, "assign")),
            *(*cleaned, "drift", "selection", "ledger", "comparison", "frontier"),
            *(*(["probe"] if spec.is_probed else []), *(["atlas"] if spec.atlas else [])),
        ),
        settings={"description": spec.description, "seed": spec.seed},
        lane=Lane.REPORT,
        weight=Weight.MEMORY,
        level=spec.n_levels,
        extra_inputs=(ExtraInput.LEFT_OUT,),
        badges=("html",),
        description="What the pool looked like and what came out, in one self-contained HTML page.",
    )
