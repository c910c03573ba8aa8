"""The steps of a pool, each declared once: what it depends on, what decides it, how it is shown and run.

To add a step, declare it here, list it in `pool_steps`, and bind its function in `steps/registry.py`.
"""

from __future__ import annotations

from typing import Any

from curation_assets.formats import ROW_FORMATS, output_suffix
from curation_assets.graph.base import ExtraInput, Lane, Step, Weight
from curation_assets.graph.levels import fit_settings, resampling_settings
from curation_assets.graph.report_steps import (
    atlas_step,
    comparison_step,
    curation_report_step,
    frontier_step,
    probe_step,
)
from curation_assets.graph.upstream import admitted_rows, judges, of_levels, probe_figure
from curation_assets.pools import EmbeddingsSource, PoolSpec
from curation_assets.pools.encoder import decisive_settings
from curation_assets.storage.tables import level_asset

FIT_VERSION = "3"
"""Of the fits of a level, and of the working files that let a killed fit resume."""
_NOT_OF_A_SHARD = {
    "path", "pattern", "files_per_shard", "max_rejected_share", "check", "follow_links", "manifest",
    "max_gone_share",
}  # fmt: skip
_NOT_OF_DUPLICATES = {"max_removed_share"}


def pool_steps(spec: PoolSpec) -> dict[str, Step]:
    """Every step of a pool in topological order, by name."""
    declared = [_raw_pool(spec), _embeddings(spec)]
    if spec.counts_tokens:
        declared.append(_token_counts(spec))
    if spec.decontamination:
        declared += [_evaluation_sets(spec), _contaminated(spec)]
    if spec.deduplication:
        declared.append(_duplicates(spec))
    if spec.is_cleaned:
        declared.append(_admitted(spec))
    for level in range(1, spec.n_levels + 1):
        declared += [_fit(spec, level, kind) for kind in _fit_kinds(spec, level)]
        declared.append(_assign(spec, level))
    declared += [_tree(spec), _drift(spec)]
    if spec.is_probed:
        declared.append(probe_step(spec))
    declared += [_selection(spec), _ledger(spec)]
    declared += [_balanced_dataset(spec), _dataset_release(spec)]
    declared += [comparison_step(spec), frontier_step(spec)]
    if spec.atlas:
        declared.append(atlas_step(spec))
    declared.append(curation_report_step(spec))
    return {step.name: step for step in declared}


# 1. Ingest: from the files of the pool to the rows that the tree may be fitted on.


def _raw_pool(spec: PoolSpec) -> Step:
    return Step(
        name="raw_pool",
        version="2",
        inputs=(),
        settings={"source": spec.source.model_dump(mode="json", exclude=_NOT_OF_A_SHARD)},
        partitioned=True,
        extra_inputs=(ExtraInput.SHARD_FILES,),
        badges=("parquet",),
        description="One row per sample: its id, where its bytes are, content hash and labels; accepted, or rejected "
        "with a reason.",
    )


def _embeddings(spec: PoolSpec) -> Step:
    limit = getattr(spec.source, "max_image_pixels", None)
    to_unit = spec.source.modality == "embedding" and spec.preprocessing.metric == "cosine"
    return Step(
        name="embeddings",
        version="3" if to_unit else "2",
        inputs=("raw_pool",),
        reads_labels=False,
        settings=_encoding(spec) | ({"max_image_pixels": limit} if limit else {}),
        weight=Weight.GPU,
        partitioned=True,
        spreads=True,
        gives_fit_rows=not spec.is_cleaned,
        badges=("torch", "numpy") if spec.encoder else ("numpy",),
        description=f"float16 embeddings by {spec.encoder_name}, one row per usable sample.",
    )


def _encoding(spec: PoolSpec) -> dict[str, Any]:
    encoder = decisive_settings(spec.encoder) if spec.encoder else spec.encoder_name
    return {"encoder": encoder, "metric": spec.preprocessing.metric}


def _token_counts(spec: PoolSpec) -> Step:
    column = spec.source.token_count_field if isinstance(spec.source, EmbeddingsSource) else None
    tokenizer = spec.tokenizer or spec.encoder_name
    counted_by = spec.tokenizer or f"the tokenizer of {spec.encoder_name}"
    return Step(
        name="token_counts",
        version="1",
        inputs=("raw_pool",),
        reads_labels=False,
        settings={"token_count_field": column} if column else {"tokenizer": tokenizer},
        partitioned=True,
        badges=("huggingface", "parquet"),
        description=f"Tokens of each accepted sample, taken from the column {column}."
        if column
        else f"Tokens of each accepted sample, counted by {counted_by}.",
    )


def _evaluation_sets(spec: PoolSpec) -> Step:
    cleaning = spec.decontamination
    sets = cleaning.model_dump(mode="json", include={"evaluation_sets"}) if cleaning else {}
    return Step(
        name="evaluation_sets",
        version="1",
        inputs=(),
        settings=sets | _encoding(spec),
        weight=Weight.GPU,
        cleans=True,
        extra_inputs=(ExtraInput.EVALUATION_FILES,),
        badges=("torch", "numpy", "parquet"),
        description="Samples that must not be in the result: their digests, and embeddings made as the pool's are.",
    )


def _contaminated(spec: PoolSpec) -> Step:
    threshold = spec.decontamination.threshold if spec.decontamination else None
    return Step(
        name="contaminated",
        version="1",
        inputs=("raw_pool", "embeddings", "evaluation_sets"),
        reads_labels=False,
        settings={"threshold": threshold, "modality": spec.modality},
        partitioned=True,
        cleans=True,
        badges=("torch", "parquet"),
        description="Rows too close to an evaluation sample, by content, normalised text, pixels or cosine.",
    )


def _duplicates(spec: PoolSpec) -> Step:
    # Contaminated samples go first, so that none of them is the copy that stays.
    settings = (
        spec.deduplication.model_dump(mode="json", exclude=_NOT_OF_DUPLICATES) if spec.deduplication else {}
    )
    rule = {"modality": spec.modality, "centring": spec.preprocessing.centring, "seed": spec.seed}
    return Step(
        name="duplicates",
        version="2",
        inputs=("raw_pool", "embeddings", *(["contaminated"] if spec.decontamination else [])),
        reads_labels=False,
        settings=settings | {"metric": spec.preprocessing.metric} | rule,
        weight=Weight.MEMORY,
        spreads=True,
        cleans=True,
        badges=("numpy", "parquet"),
        description="Exact and near copies across all shards, each with the sample that is kept and their similarity. "
        "Earlier decisions about unchanged shards are kept.",
    )


def _admitted(spec: PoolSpec) -> Step:
    return Step(
        name="admitted",
        version="1",
        inputs=("embeddings", *judges(spec)),
        settings={},
        partitioned=True,
        gives_fit_rows=True,
        cleans=True,
        badges=("numpy", "parquet"),
        description="Rows that the tree is fitted on and drawn from; every excluded row with its twin and similarity.",
    )


# 2. Hierarchy: the tree, and the place of every row in it.

_FITS = {
    "initial": "First clustering of the level: k-means++ seeds, then Lloyd iterations on all its inputs.",
    "resampled": "All resampling steps except the last fit (subset, seeds, Lloyd, reassignment), and the last subset.",
    "clusters": "Centroids of the level, fitted on the last resampled subset.",
}


def _fit_kinds(spec: PoolSpec, level: int) -> list[str]:
    """The fits of a level; without resampling there is one."""
    return list(_FITS) if spec.levels[level - 1].steps_at(level) else ["clusters"]


def _fit(spec: PoolSpec, level: int, kind: str) -> Step:
    kinds = _fit_kinds(spec, level)
    earlier = [level_asset(level, name) for name in kinds[: kinds.index(kind)]]
    rows = "admitted" if spec.is_cleaned else "embeddings"
    below = rows if level == 1 else level_asset(level - 1, "clusters")
    return Step(
        name=level_asset(level, kind),
        kind=kind,
        version=FIT_VERSION,
        inputs=(below, *earlier),
        settings=fit_settings(spec, level) | (resampling_settings(spec, level) if earlier else {}),
        lane=Lane.HIERARCHY,
        weight=Weight.GPU,
        spreads=True,
        level=level,
        fits_tree=True,
        on_fit_rows=level == 1,
        badges=("kmeans", "numpy"),
        description=f"{_FITS[kind]} Its inputs are "
        + ("the rows of the pool." if level == 1 else f"the centroids of level {level - 1}."),
    )


def _assign(spec: PoolSpec, level: int) -> Step:
    below = [level_asset(level - 1, "assign")] if level > 1 else []
    how = "the nearest centroid" if level == 1 else f"the parent of its cluster at level {level - 1}"
    return Step(
        name=level_asset(level, "assign"),
        kind="assign",
        version="1",
        inputs=("embeddings", level_asset(level, "clusters"), *below),
        settings={"metric": spec.preprocessing.metric},
        lane=Lane.HIERARCHY,
        partitioned=True,
        spreads=True,
        level=level,
        badges=("parquet",),
        description=f"Cluster of every row at level {level} ({how}), and its distance to that centroid.",
    )


def _tree(spec: PoolSpec) -> Step:
    return Step(
        name="tree",
        version="2",
        inputs=(*of_levels(spec, "clusters"), *admitted_rows(spec), level_asset(1, "assign")),
        settings={"keep_trees": spec.refit.keep_trees, "max_share": spec.max_share},
        lane=Lane.HIERARCHY,
        level=spec.n_levels,
        badges=("parquet",),
        description="The current tree, archived by version; earlier versions stay readable. A table per level maps the "
        "clusters of the previous tree to those that hold their rows now. Levels that have collapsed are marked.",
    )


def _drift(spec: PoolSpec) -> Step:
    return Step(
        name="drift",
        version="1",
        inputs=("embeddings", *of_levels(spec, "assign")),
        settings=spec.refit.model_dump(mode="json", include={"new_rows", "drift_score"}),
        lane=Lane.HIERARCHY,
        level=spec.n_levels,
        extra_inputs=(ExtraInput.FIT_ROWS,),
        badges=("parquet",),
        description="How far the rows of each shard differ from the rows that the tree was fitted on. By the refit "
        "policy of the pool, the tree stays (assign and re-select) or is refitted from level 1.",
    )


# 3. Balance: the draw, the fate of every sample, and the files.


def _selection(spec: PoolSpec) -> Step:
    counted = ["token_counts"] if spec.counts_tokens else []
    probed = ["probe"] if any(target.asks_probe for target in spec.targets) else []
    measured = any(target.measures_levels for target in spec.targets)
    return Step(
        name="selection",
        version="4",
        inputs=(
            "embeddings",
            *admitted_rows(spec),
            *counted,
            level_asset(1, "assign"),
            *of_levels(spec, "clusters"),
            *probed,
        ),
        settings={
            "targets": [target.model_dump(mode="json") for target in spec.targets],
            "seed": spec.seed,
            **probe_figure(spec),
            **({"max_share": spec.max_share} if measured else {}),
        },
        lane=Lane.BALANCE,
        weight=Weight.MEMORY,
        level=spec.n_levels,
        draws=True,
        # Drift decides first: a draw from a tree that is about to be refitted would have to be repeated.
        after=("tree", "drift"),
        badges=("polars", "parquet"),
        description="The level that each target is balanced from; quotas of samples or tokens, water-filled down the "
        "tree from there; and the rows that fill them.",
    )


def _ledger(spec: PoolSpec) -> Step:
    return Step(
        name="ledger",
        version="3",
        inputs=("raw_pool", "embeddings", *admitted_rows(spec), level_asset(1, "assign"), "selection"),
        reads_labels=False,
        settings={},
        lane=Lane.BALANCE,
        partitioned=True,
        level=spec.n_levels,
        forced_with_ancestors=False,
        badges=("polars", "parquet"),
        description="One fate for every sample, with the reason: selected, not selected, duplicate, contaminated or "
        "rejected.",
    )


def _balanced_dataset(spec: PoolSpec) -> Step:
    formats = [name for name in ROW_FORMATS if name in spec.output_formats]
    files = ", ".join(f"`<target>/<shard>.{output_suffix(name)}`" for name in formats)
    return Step(
        name="balanced_dataset",
        # Safe names of members, and captions and labels of members of their own, concern tars.
        version="4" if "webdataset" in (spec.source.format, *formats) else "3",
        inputs=("raw_pool", "selection"),
        reads_extras=True,
        settings={"outputs": list(spec.output_formats)},
        lane=Lane.BALANCE,
        partitioned=True,
        level=spec.n_levels,
        forced_with_ancestors=False,
        badges=tuple(formats),
        description=f"The selected samples of each shard: {files}."
        if files
        else "The number of selected samples of each shard; `outputs` names no format that holds samples.",
    )


def _dataset_release(spec: PoolSpec) -> Step:
    card = {"description": spec.description, "encoder": spec.encoder_name}
    return Step(
        name="dataset_release",
        version="2",
        inputs=(
            "embeddings",
            *admitted_rows(spec),
            level_asset(1, "assign"),
            "selection",
            "balanced_dataset",
        ),
        settings={"outputs": list(spec.output_formats)} | card,
        lane=Lane.BALANCE,
        level=spec.n_levels,
        forced_with_ancestors=False,
        badges=("huggingface",),
        description="The published form of each target, one folder each: Parquet under `data/` for "
        "datasets.load_dataset, ids, weights, dataset card and manifest.",
    )
