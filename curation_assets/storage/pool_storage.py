"""Where a pool's outputs lie: <storage root>/<pool>/<asset>/<shard>.<name>."""

from __future__ import annotations

from collections.abc import Sequence

from upath import UPath

from curation_assets.storage.embeddings import ShardedEmbeddings
from curation_assets.storage.outputs import FACTS, Output
from curation_assets.storage.shards import Shard, load_shards, save_shards


class PoolStorage:
    """All outputs of one pool.

    Args:
        storage_root: folder or fsspec URI.
        pool: the pool's name.
    """

    def __init__(self, storage_root: str, pool: str) -> None:
        self.folder = UPath(storage_root) / pool
        self.pool = pool

    def output(self, asset: str, shard: str | None = None) -> Output:
        """Files of an asset, or of one shard of it."""
        return Output(self.folder / asset, shard)

    def shards(self) -> list[Shard]:
        """The pool's shards in canonical order (by key): what every fan-in follows."""
        return load_shards(self.folder)

    def save_shards(self, shards: Sequence[Shard]) -> None:
        """Keep a new list of shards."""
        save_shards(self.folder, shards)

    def remove_shard(self, shard: str, assets: Sequence[str]) -> None:
        """Remove every file of a shard that is no longer part of the pool, facts first."""
        for asset in assets:
            output = self.output(asset, shard)
            facts = output.facts()
            output.path(FACTS).unlink(missing_ok=True)
            for name in facts.files if facts else ():
                output.path(name).unlink(missing_ok=True)

    def embeddings(self) -> ShardedEmbeddings:
        """The embeddings of the whole pool as lazy rows.

        Raises:
            StaleInputError: if a shard was not embedded yet.
        """
        return ShardedEmbeddings([self.output("embeddings", shard.key) for shard in self.shards()])
