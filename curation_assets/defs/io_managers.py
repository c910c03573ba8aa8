"""The location's IO manager: hands out handles of stored outputs and stores nothing itself."""

from __future__ import annotations

from typing import Any

import dagster as dg

from curation_assets.storage.outputs import Output
from curation_assets.storage.pool_storage import PoolStorage


class HandleIOManager(dg.IOManager):
    """Hands your own assets downstream of a pool the files of their inputs, without loading them.

    A partitioned input arrives as a dict from shard key to `Output`, even if there is only one shard.

    Args:
        storage_root: folder or fsspec URI of everything that the graph makes.
    """

    def __init__(self, storage_root: str) -> None:
        self._storage_root = storage_root

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Refuse values: assets write their own files and return a MaterializeResult.

        Raises:
            TypeError: if an asset returned anything but None.
        """
        if obj is not None:
            raise TypeError(
                f"{context.asset_key.to_user_string()} returned a {type(obj).__name__}. Assets of this project write "
                f"their own files and return a MaterializeResult; to return a value, give the asset its own IO manager"
            )

    def load_input(self, context: dg.InputContext) -> Output | dict[str, Output]:
        """Handles of the input's files."""
        pool, asset = context.asset_key.path
        storage = PoolStorage(self._storage_root, pool)
        if not context.has_asset_partitions:
            return storage.output(asset)
        return {key: storage.output(asset, key) for key in context.asset_partition_keys}
