"""What every step stores: the files of each asset, and the columns of each table. The only place that names them."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np
import polars as pl

from curation_assets.storage.files import Array, Table
from curation_assets.storage.outputs import Output

LABEL_PREFIX: Final = "label_"
"""Begins the columns of `raw_pool` that hold the source's `label_fields`."""
SIGNATURE_LENGTH: Final = 192

_ROW: dict[str, Any] = {"row": pl.UInt32, "raw_row": pl.UInt32, "sample_id": pl.String}
_TWIN = {"kind": pl.String, "twin_set": pl.String, "twin_id": pl.String, "similarity": pl.Float32}


def level_asset(level: int, kind: str) -> str:
    """Name of a level's asset: kind is initial, resampled, clusters or assign."""
    return f"level_{level}_{kind}"


class AssetOutput(Output):
    """What one asset stores."""

    asset: ClassVar[str]


class RawPool(AssetOutput):
    """`raw_pool` of a shard."""

    asset = "raw_pool"
    samples = Table("parquet", {
        "sample_id": pl.String, "id_hash": pl.UInt64, "file": pl.String, "member": pl.String,
        "offset": pl.Int64, "size_bytes": pl.Int64, "content_sha256": pl.String, "width": pl.Int32,
        "height": pl.Int32, "n_characters": pl.Int64, "normalized_sha256": pl.String, "reason": pl.String,
        "detail": pl.String,
    })  # fmt: skip
    """A row for every sample, `reason` null for accepted ones; then `EXTRAS`, and a String column for each label."""
    EXTRAS: ClassVar = "extras_sha256"
    """Column: digest of what goes out with a sample beside its content; tables of earlier versions lack it."""
    VERSIONS: ClassVar = "versions.txt"
    CONTENT: ClassVar = "content"
    """Part of the facts: everything but places in files, labels and extras."""
    LABELLED: ClassVar = "labelled"
    """Part of the facts: everything but places in files and extras."""


class Embedded(AssetOutput):
    """`embeddings` of a shard."""

    asset = "embeddings"
    vectors = Array("npy")
    """float16 (n, d)."""
    rows = Table("rows.parquet", {"raw_row": pl.UInt32, "sample_id": pl.String, "id_hash": pl.UInt64})
    """A row for every embedding."""
    rejected = Table("rejected.parquet", {"raw_row": pl.Int64, "reason": pl.String, "detail": pl.String})
    signatures = Array("signatures.npy")
    """uint8 (n, 192), of image pools: 8 x 8 pixels of every row, to find resized copies."""
    blank = Array("blank.npy")
    """uint32, ascending: rows whose image shows one colour only. Not stored if there are none."""

    def blank_rows(self) -> np.ndarray:
        """Rows whose image shows one colour only, uint32, ascending."""
        is_stored = Embedded.blank.name in self.require_facts().files
        return self.blank.read() if is_stored else np.empty(0, dtype=np.uint32)


class TokenCounts(AssetOutput):
    """`token_counts` of a shard."""

    asset = "token_counts"
    counts = Table("parquet", {"raw_row": pl.UInt32, "n_tokens": pl.Int64})
    """A row for every accepted sample, in the order of the raw pool; special tokens are not counted."""


class EvaluationSets(AssetOutput):
    """`evaluation_sets`: the rows of each set are consecutive, in the table and in both arrays."""

    asset = "evaluation_sets"
    samples = Table("samples.parquet", {
        "set": pl.String, "sample_id": pl.String, "content_sha256": pl.String,
        "normalized_sha256": pl.String, "embedding_row": pl.Int64, "signature_row": pl.Int64,
    })  # fmt: skip
    """Rows of the arrays are null for a sample that has none."""
    embeddings = Array("embeddings.npy")
    """float16 (n, d), as the encoder gives them; none is all zeros."""
    signatures = Array("signatures.npy")
    """uint8 (n, 192), of images."""
    rejected = Table(
        "rejected.parquet",
        dict.fromkeys(("set", "sample_id", "file", "member", "reason", "detail"), pl.String),
    )


class Contaminated(AssetOutput):
    """`contaminated` of a shard."""

    asset = "contaminated"
    evidence = Table("evidence.parquet", {**_ROW, **_TWIN})
    """At most one line a row; `twin_set` is the evaluation set of the twin."""


class Fitted(Output):
    """Centroids, with what rows need before they can be compared to them."""

    centroids = Array("centroids.npy")
    """float32 (k, d)."""
    mean = Array("mean.npy")
    """float32 (d,); only with centring."""


class Duplicates(Fitted, AssetOutput):
    """`duplicates`: the coarse clusters of the search, and what the next run starts from."""

    asset = "duplicates"
    evidence = Table("evidence.parquet", {"shard": pl.String, **_ROW, **_TWIN})
    """A line for every removed row; `twin_set` is the shard of the sample that is kept."""
    judged = Table("judged.parquet", {"shard": pl.String, "digest": pl.String, "n_rows": pl.Int64})
    """Shards, with the content that the decisions are about."""
    left_out = Table("left_out.parquet", {"shard": pl.String, "row": pl.UInt32})
    """Contaminated rows, which were not judged."""
    visits = Array("visits.npy")
    """int32 (n, v): coarse clusters of the kept rows, -1 for the others."""


class Admitted(AssetOutput):
    """`admitted` of a shard."""

    asset = "admitted"
    kept = Array("kept.npy")
    """int64, ascending: rows of the shard's embeddings that are admitted."""
    excluded = Table("excluded.parquet", {**_ROW, "fate": pl.String, **_TWIN})
    """`twin_set` is the shard of the twin that is kept, or the evaluation set that a sample is too close to."""
    EMBEDDINGS_DIGEST: ClassVar = "embeddings.txt"


class LevelClusters(Fitted):
    """`level_t_initial` or `level_t_clusters`; level 1 stores the mean."""

    assignments = Array("assignments.npy")
    """int64 (n,): the cluster of each input; above level 1, and in every initial fit."""
    distances = Array("distances.npy")
    """float32 (n,)."""
    coarse_centroids = Array("coarse_centroids.npy")
    """float32 (k_coarse, d), of a split level."""
    coarse_of_cluster = Array("coarse_of_cluster.npy")
    """int64 (k,), of a split level."""
    fit_sample = Table("fit_sample.parquet", {"shard": pl.Categorical, "row": pl.UInt32})
    """Of the first output of level 1, if it is fitted on a sample: rows of the shards' embeddings, in their order."""


class Resampled(Output):
    """`level_t_resampled`."""

    subset = Table("subset.parquet", {"row": pl.Int64, "cluster": pl.Int64, "rank": pl.Int64})


class Assigned(Output):
    """`level_t_assign` of a shard."""

    rows = Table("parquet", {"cluster": pl.Int64, "distance": pl.Float32})
    """A row for every embedding; `distance` is to the centroid."""


class Tree(AssetOutput):
    """`tree`."""

    asset = "tree"

    @staticmethod
    def cluster_map(level: int) -> Table:
        """Which clusters of a level the rows of the last tree's clusters are in now."""
        counted = dict.fromkeys(("old_cluster", "new_cluster", "n_rows"), pl.Int64)
        return Table(f"level_{level}_map.parquet", {**counted, "share_of_old": pl.Float64})


class Drift(AssetOutput):
    """`drift`."""

    asset = "drift"
    shards = Table("shards.parquet", {
        "shard": pl.String, "in_fit": pl.Boolean, "n_rows": pl.Int64, "mean_distance": pl.Float64,
        "distance_shift": pl.Float64, "beyond_radius_share": pl.Float64, "mass_shift": pl.Float64,
        "score": pl.Float64, "assign_digest": pl.String,
    })  # fmt: skip
    fit_mass = Array("fit_mass.npy")
    """Share of the fitted rows in each cluster."""


class Selection(AssetOutput):
    """`selection`; its tables are ordered by shard inside each target."""

    asset = "selection"
    selected = Table("selected.parquet", {
        "target": pl.String, "shard": pl.String, "row": pl.Int64, "raw_row": pl.UInt32,
        "sample_id": pl.String, "level_1": pl.Int64, "distance": pl.Float32,
    })  # fmt: skip
    """Before `distance` the clusters of the higher levels, after it `n_tokens` (UInt32) if tokens are counted."""
    quotas = Table("quotas.parquet", {
        "target": pl.String, "unit": pl.String, "level": pl.Int32, "cluster": pl.Int64, "size": pl.Int64,
        "quota": pl.Int64,
    })  # fmt: skip
    weights = Table("weights.parquet", {"target": pl.String, "cluster": pl.Int64, "weight": pl.Float64})
    """Of each level-1 cluster its share of the target as a real number, by its size: the weight of each of its samples
    or, for a target in tokens, of each token."""
    start_levels = Table("start_levels.parquet", {
        "target": pl.String, "level": pl.Int8, "vendi": pl.Float64, "effective_partition": pl.Float64,
        "score": pl.Float64, "noise": pl.Float64, "collapsed": pl.Boolean, "chosen": pl.Boolean,
    })  # fmt: skip
    """The levels of each target with `balance_from: auto`, lowest first: means over draws with equal shares."""
    repeated_ids = Table(
        "duplicates.parquet",
        {"shard": pl.String, "raw_row": pl.UInt32, "sample_id": pl.String, "kept_shard": pl.String},
    )
    """Rows set aside because their id occurs in an earlier shard: not those of the asset `duplicates`."""
    ran_out_at = Array("ran_out_at.npy")
    """int8 (k_1,): the highest level at which no target had anything left for a level-1 cluster; of several targets
    the one that got furthest down. 0 for a cluster that got a share."""


class Ledger(AssetOutput):
    """`ledger` of a shard."""

    asset = "ledger"
    fates = Table("parquet", {
        "sample_id": pl.String, "file": pl.String, "member": pl.String, "fate": pl.String,
        "reason": pl.String, "detail": pl.String, "twin_set": pl.String, "twin_id": pl.String,
        "similarity": pl.Float32, "ran_out_at": pl.Int8, "targets": pl.List(pl.String),
    })  # fmt: skip
    """A row for every row of the shard's raw pool, in its order. `reason` only of rejected samples; `twin_set` (shard
    or evaluation set), `twin_id` and `similarity` of duplicates and contaminated ones; `ran_out_at` only of samples
    that were not selected: the highest level whose cluster above them got nothing, 0 if their own level-1 cluster got
    a share and other samples went first."""


class BalancedDataset(AssetOutput):
    """`balanced_dataset` of a shard: a file for each target and form that holds samples."""

    asset = "balanced_dataset"

    @staticmethod
    def file(target: str, suffix: str) -> str:
        """Name of a target's file, whose form the suffix tells."""
        return f"{target}/{suffix}"


class DatasetRelease(AssetOutput):
    """`dataset_release`: a folder for each target."""

    asset = "dataset_release"
    CARD: ClassVar = "README.md"
    IDS: ClassVar = "ids.txt"
    WEIGHTS: ClassVar = "weights.parquet"
    MANIFEST: ClassVar = "manifest.json"


class Atlas(AssetOutput):
    """`atlas`."""

    asset = "atlas"
    X: ClassVar = "projection_x"
    Y: ClassVar = "projection_y"
    NEIGHBOURS: ClassVar = "neighbors"
    samples = Table("atlas.parquet", {
        "id": pl.String, "fate": pl.String, "targets": pl.String, "distance": pl.Float32,
        "reason": pl.String, "twin_set": pl.String, "twin_id": pl.String, "similarity": pl.Float32,
        "shard": pl.String, "file": pl.String, X: pl.Float32, Y: pl.Float32,
        NEIGHBOURS: pl.Struct({"ids": pl.List(pl.Int64), "distances": pl.List(pl.Float32)}),
    })  # fmt: skip
    """Also `text` or `image`, the clusters of every level as text, and the labels."""
    PICTURE: ClassVar = "projection.png"


_ESTIMATE: dict[str, Any] = {"mean": pl.Float64, "spread": pl.Float64}
_MEASURED: dict[str, Any] = {"field": pl.String, "measure": pl.String, **_ESTIMATE, "n_draws": pl.Int32}


class Comparison(AssetOutput):
    """`comparison`: every target beside other subsets of its size."""

    asset = "comparison"
    measures = Table(
        "measures.parquet", {"target": pl.String, "subset": pl.String, "level": pl.Int8, **_MEASURED}
    )
    """Mean and standard deviation of a measure over draws; `spread` is null for a single draw. `level` is that at
    which quotas start, null for baselines; `field` is the label field, null for measures that need no labels."""
    labels = Table("labels.parquet", {
        "target": pl.String, "field": pl.String, "label": pl.String, "in_pool": pl.Int64,
        "random": pl.Float64, "flat": pl.Float64, "chosen": pl.Int64,
    })  # fmt: skip
    """Samples with each label; of the baselines the mean of their draws, of `chosen` the selection itself."""


class Frontier(AssetOutput):
    """`frontier`: the measures of subsets of several sizes."""

    asset = "frontier"
    measures = Table(
        "measures.parquet",
        {"size": pl.Int64, "fraction": pl.Float64, "subset": pl.String, "level": pl.Int8, **_MEASURED},
    )
    """`size` in samples and as a share of the admissible ones; `level` is that at which quotas start, null for random
    subsets. The Vendi score is of at most 500 samples of a subset."""


class Probe(AssetOutput):
    """`probe`: what is learnt from subsets.

    Each table has lines for the baselines and for every level that a target can be balanced from, by its evenness.
    Which of them it takes is in the facts of `selection`.
    """

    asset = "probe"
    accuracy = Table("accuracy.parquet", {
        "target": pl.String, "subset": pl.String, "level": pl.Int8, "field": pl.String, "probe": pl.String,
        **_ESTIMATE, "n_seeds": pl.Int32,
    })  # fmt: skip
    labels = Table("labels.parquet", {
        "target": pl.String, "subset": pl.String, "label": pl.String, "probe": pl.String,
        "accuracy": pl.Float64, "n_test": pl.Int64,
    })  # fmt: skip
    """Mean over the seeds; only labels that are tested."""
    figures = Table("figures.parquet", {
        "target": pl.String, "subset": pl.String, "level": pl.Int8, "figure": pl.String, **_ESTIMATE,
        "n_seeds": pl.Int32,
    })  # fmt: skip
    """What the pool's own command returned; no rows without a command."""


class CurationReport(AssetOutput):
    """`curation_report`; its figures are PNG files beside the page."""

    asset = "curation_report"
    PAGE: ClassVar = "curation_report.html"
