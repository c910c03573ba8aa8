"""Partitions: one dynamic set per pool, a partition per shard."""

from __future__ import annotations

import dagster as dg

from curation_assets.pools import PoolSpec
from curation_assets.storage.shards import Shard


def pool_partitions(pool: str) -> dg.DynamicPartitionsDefinition:
    """The shards of a pool as Dagster partitions."""
    return dg.DynamicPartitionsDefinition(name=f"{pool}_shards")


def sync_partitions(instance: dg.DagsterInstance, spec: PoolSpec, shards: list[Shard]) -> tuple[int, int]:
    """Make the instance's partitions those of the shards; returns how many were added and removed."""
    name = f"{spec.name}_shards"
    known = set(instance.get_dynamic_partitions(name))
    wanted = [shard.key for shard in shards]
    new = [key for key in wanted if key not in known]
    if new:
        instance.add_dynamic_partitions(name, new)
    gone = known - set(wanted)
    for key in gone:
        instance.delete_dynamic_partition(name, key)
    return len(new), len(gone)
