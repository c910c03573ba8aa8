"""Partitions: one dynamic set per pool with a partition per shard, kept in step with the pool's files."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from curation_assets.defs.keys import partitions_name
from curation_assets.pools import PoolSpec
from curation_assets.storage.shards import Shard


def pool_partitions(spec: PoolSpec) -> dg.DynamicPartitionsDefinition:
    """The shards of a pool as Dagster partitions."""
    return dg.DynamicPartitionsDefinition(name=partitions_name(spec))


def sync_partitions(instance: dg.DagsterInstance, spec: PoolSpec, shards: Sequence[Shard]) -> tuple[int, int]:
    """Make the instance's partitions those of the shards; returns how many were added and removed."""
    name = partitions_name(spec)
    known = set(instance.get_dynamic_partitions(name))
    wanted = [shard.key for shard in shards]
    new = [key for key in wanted if key not in known]
    # SQLite takes at most 32,766 values in one statement.
    for start in range(0, len(new), 10_000):
        instance.add_dynamic_partitions(name, new[start : start + 10_000])
    gone = known - set(wanted)
    for key in gone:
        instance.delete_dynamic_partition(name, key)
    return len(new), len(gone)
