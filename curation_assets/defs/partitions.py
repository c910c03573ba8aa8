"""Partitions: one dynamic set per pool with a partition per shard, kept in step with the pool's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dagster as dg

from curation_assets.formats.base import SourceFile
from curation_assets.graph.steps import pool_steps
from curation_assets.pools import PoolSpec
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard, group_files


@dataclass(frozen=True, slots=True)
class ListingChange:
    """What a new listing changed."""

    shards: list[Shard]
    """Every shard, including those set aside."""
    new: list[str]
    changed: list[str]
    gone: list[str]

    @property
    def summary(self) -> str:
        """The changes, for people; empty if there are none."""
        parts = [
            f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for what, keys in (("new", self.new), ("changed", self.changed), ("gone", self.gone))
            if keys
        ]
        return ", ".join(parts)


def partitions_name(pool: str) -> str:
    """Name of the pool's set of dynamic partitions."""
    return f"{pool}_shards"


def pool_partitions(pool: str) -> dg.DynamicPartitionsDefinition:
    """The shards of a pool as Dagster partitions."""
    return dg.DynamicPartitionsDefinition(name=partitions_name(pool))


def take_listing(
    instance: dg.DagsterInstance,
    spec: PoolSpec,
    storage: PoolStorage,
    files: Sequence[SourceFile],
    why_set_aside: Callable[[Shard], str] = lambda _: "",
) -> ListingChange:
    """Group complete files into shards, remove shards that are gone, and make Dagster's partitions the same.

    `why_set_aside` tells why the pool is curated without a shard for now; it is empty for one that takes part.
    """
    known = storage.all_shards()
    grouped = group_files(files, spec.source.files_per_shard, known)
    shards = [Shard(shard.key, shard.files, why_set_aside(shard)) for shard in grouped]
    if shards != known:
        storage.save_shards(shards)
    before = {shard.key: shard.files for shard in known}
    now = {shard.key: shard.files for shard in shards}
    gone = sorted(before.keys() - now.keys())
    partitioned = [step.name for step in pool_steps(spec).values() if step.partitioned]
    for key in gone:
        storage.remove_shard(key, partitioned)
    sync_partitions(instance, spec, shards)
    return ListingChange(
        shards,
        new=sorted(now.keys() - before.keys()),
        changed=sorted(key for key in now.keys() & before.keys() if now[key] != before[key]),
        gone=gone,
    )


def sync_partitions(instance: dg.DagsterInstance, spec: PoolSpec, shards: Sequence[Shard]) -> tuple[int, int]:
    """Make the instance's partitions those of the shards; returns how many were added and removed."""
    name = partitions_name(spec.name)
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
