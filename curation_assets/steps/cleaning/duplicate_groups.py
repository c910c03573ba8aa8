"""Duplicates as groups: each kept sample with the samples that repeat it."""

from __future__ import annotations

import polars as pl

_MEMBER = ("shard", "row", "raw_row", "sample_id", "kind", "similarity")


def largest_groups(evidence: pl.DataFrame, most: int) -> pl.DataFrame:
    """The `most` groups with the most removed samples, in all of the evidence or any part of it.

    Returns:
        Table of twin_set and twin_id (shard and sample id of the kept sample), n_removed, lowest_similarity, and
        members: a list of structs shard, row, raw_row, sample_id, kind, similarity, least similar first. Largest
        group first, of equal ones in the order of twin_set and twin_id.
    """
    order = ["similarity", "shard", "row"]
    largest = group_sizes(evidence).head(most)
    return (
        evidence.join(largest, on=["twin_set", "twin_id"], how="semi")
        .sort(order)
        .group_by("twin_set", "twin_id", maintain_order=True)
        .agg(pl.struct(_MEMBER).alias("members"))
        .join(largest, on=["twin_set", "twin_id"])
        .sort("n_removed", "twin_set", "twin_id", descending=[True, False, False])
        .select("twin_set", "twin_id", "n_removed", "lowest_similarity", "members")
    )


def group_sizes(evidence: pl.DataFrame) -> pl.DataFrame:
    """twin_set, twin_id, n_removed and lowest_similarity of every group, largest first."""
    return (
        evidence.group_by("twin_set", "twin_id")
        .agg(pl.len().alias("n_removed"), pl.col("similarity").min().alias("lowest_similarity"))
        .sort("n_removed", "twin_set", "twin_id", descending=[True, False, False])
    )
