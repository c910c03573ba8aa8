"""The stored tables of one shard that decide what may be drawn of it."""

from __future__ import annotations

from dataclasses import dataclass

from curation_assets.pools import PoolSpec
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import Admitted, Assigned, Embedded, TokenCounts


@dataclass(frozen=True, slots=True)
class ShardTables:
    """Handles of a shard's tables; creating them reads nothing."""

    key: str
    embedded: Embedded
    assigned: Assigned
    """At level 1."""
    admitted: Admitted | None
    """None in a pool without cleaning."""
    token_counts: TokenCounts | None
    """None in a pool whose tokens are not counted."""

    @classmethod
    def of(cls, spec: PoolSpec, storage: PoolStorage, key: str) -> ShardTables:
        """The tables of one shard."""
        return cls(
            key,
            storage.embedded(key),
            storage.assigned(1, key),
            storage.admitted(key) if spec.is_cleaned else None,
            storage.token_counts(key) if spec.counts_tokens else None,
        )


def shard_tables(spec: PoolSpec, storage: PoolStorage) -> list[ShardTables]:
    """The tables of every shard, in canonical order."""
    return [ShardTables.of(spec, storage, shard.key) for shard in storage.shards()]
