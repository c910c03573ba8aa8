"""The IO manager of pools: hands out handles of stored outputs and stores nothing itself."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import dagster as dg

from curation_assets.release import Release
from curation_assets.storage.outputs import Output
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import DatasetRelease

IO_MANAGER_KEY = "curation_io_manager"
"""The resource key of pools, so that `io_manager` stays that of the project."""


class HandleIOManager(dg.IOManager):
    """Hands your own assets downstream of a pool the files of their inputs, without loading them.

    `dataset_release` arrives as a `Release`, any other input as an `Output`. A partitioned input arrives as a dict from
    shard key to `Output`, even if there is only one shard.

    Assets of pools name it themselves. An asset in another code location needs it there, under any key:

        release = dg.AssetSpec(["web", "dataset_release"]).with_io_manager_key("curation_io_manager")
        dg.Definitions(
            [mine, release],
            resources={"curation_io_manager": HandleIOManager(storage_root="s3://bucket/curated")},
        )

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
                f"{context.asset_key.to_user_string()} returned a {type(obj).__name__}. Assets of pools write "
                f"their own files and return a MaterializeResult; to return a value, give the asset its own IO manager"
            )

    def load_input(self, context: dg.InputContext) -> Release | Output | dict[str, Output]:
        """Handles of the input's files.

        Raises:
            StaleInputError: if the input is a release that has not been made yet.
        """
        *_, pool, asset = context.asset_key.path
        storage = PoolStorage(self._storage_root, pool)
        if asset == DatasetRelease.asset:
            return Release.open(storage.dataset_release())
        if not context.has_asset_partitions:
            return storage.output(asset)
        return {key: storage.output(asset, key) for key in context.asset_partition_keys}


@lru_cache
def io_manager_of(storage_root: str) -> HandleIOManager:
    """The same object for the same storage: `Definitions.merge` takes a key twice only if it names one object."""
    return HandleIOManager(storage_root)
