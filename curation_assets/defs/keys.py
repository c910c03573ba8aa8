"""Names of a pool in Dagster that other code locations of the instance must not share: keys, tags, operations."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from curation_assets.pools import PoolSpec


def asset_key(spec: PoolSpec, *names: str) -> dg.AssetKey:
    """Key of what belongs to a pool: its prefix, its name, and these names."""
    return dg.AssetKey([*spec.dagster.key_prefix, spec.name, *names])


def is_of_pool(key: dg.AssetKey, spec: PoolSpec) -> bool:
    """Whether an asset belongs to a pool."""
    return asset_key(spec).path == key.path[: len(spec.dagster.key_prefix) + 1]


def pool_tag(spec: PoolSpec) -> str:
    """Value of the tag `curation/pool` of every run of a pool: its prefix and its name."""
    return "/".join(asset_key(spec).path)


def partitions_name(spec: PoolSpec) -> str:
    """Name of the pool's set of dynamic partitions."""
    return "_".join([*asset_key(spec).path, "shards"])


def op_names(spec: PoolSpec, steps: Iterable[str]) -> frozenset[str]:
    """Names of the operations that make these steps, by which Dagster keeps the slots of its pools."""
    return frozenset(asset_key(spec, step).to_python_identifier() for step in steps)
