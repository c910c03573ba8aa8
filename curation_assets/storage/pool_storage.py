"""Where a pool's outputs lie: <storage root>/<pool>/<asset>/<shard>.<name>."""

from __future__ import annotations

import gc
import glob
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from upath import UPath

from curation_assets.errors import StaleInputError
from curation_assets.locations import is_local
from curation_assets.storage.atomic import open_root, read_all_whole, remove_remote
from curation_assets.storage.embeddings import ShardedEmbeddings
from curation_assets.storage.fingerprint import combined_digest
from curation_assets.storage.fit_rows import FitRows, load_fit_rows
from curation_assets.storage.outputs import FACTS, Facts, Output, parse_facts
from curation_assets.storage.shards import Shard, load_known_shards, load_shards, save_shards
from curation_assets.storage.tables import (
    Admitted,
    AssetOutput,
    Assigned,
    Atlas,
    BalancedDataset,
    Comparison,
    Contaminated,
    DatasetRelease,
    Drift,
    Duplicates,
    Embedded,
    EvaluationSets,
    Frontier,
    Ledger,
    LevelClusters,
    Probe,
    RawPool,
    Resampled,
    Selection,
    TokenCounts,
    Tree,
    level_asset,
)  # fmt: skip
from curation_assets.storage.versions import version_age

_ORPHAN_SECONDS = 86_400.0
Kind = TypeVar("Kind", bound=AssetOutput)


@dataclass(frozen=True, slots=True)
class OfShard(Generic[Kind]):
    """A method of `PoolStorage`: key of a shard -> what an asset stores of it."""

    kind: type[Kind]

    def __get__(self, storage: PoolStorage, owner: type) -> Callable[[str], Kind]:
        return lambda shard: self.kind(storage.folder / self.kind.asset, shard)


@dataclass(frozen=True, slots=True)
class OfPool(Generic[Kind]):
    """A method of `PoolStorage`: what an asset stores of the whole pool."""

    kind: type[Kind]

    def __get__(self, storage: PoolStorage, owner: type) -> Callable[[], Kind]:
        return lambda: self.kind(storage.folder / self.kind.asset, None)


class PoolStorage:
    """All outputs of one pool, below a folder or fsspec URI."""

    raw_pool = OfShard(RawPool)
    embedded = OfShard(Embedded)
    token_counts = OfShard(TokenCounts)
    evaluation_sets = OfPool(EvaluationSets)
    contaminated = OfShard(Contaminated)
    duplicates = OfPool(Duplicates)
    admitted = OfShard(Admitted)
    tree = OfPool(Tree)
    drift = OfPool(Drift)
    selection = OfPool(Selection)
    ledger = OfShard(Ledger)
    balanced_dataset = OfShard(BalancedDataset)
    dataset_release = OfPool(DatasetRelease)
    comparison = OfPool(Comparison)
    frontier = OfPool(Frontier)
    probe = OfPool(Probe)
    atlas = OfPool(Atlas)

    def __init__(self, storage_root: str, pool: str) -> None:
        self.folder = open_root(storage_root) / pool
        self.pool = pool

    def output(self, asset: str, shard: str | None = None) -> Output:
        """Files of an asset, or of one shard of it."""
        return Output(self.folder / asset, shard)

    def initial(self, level: int) -> LevelClusters:
        """The clusters that a level's resampling starts from."""
        return LevelClusters(self.folder / level_asset(level, "initial"), None)

    def resampled(self, level: int) -> Resampled:
        """The subset that a level's clusters are fitted on."""
        return Resampled(self.folder / level_asset(level, "resampled"), None)

    def clusters(self, level: int) -> LevelClusters:
        """The clusters of a level."""
        return LevelClusters(self.folder / level_asset(level, "clusters"), None)

    def assigned(self, level: int, shard: str) -> Assigned:
        """The clusters of a shard's rows at a level."""
        return Assigned(self.folder / level_asset(level, "assign"), shard)

    def shard_facts(self, asset: str) -> dict[str, Facts]:
        """Facts of every complete output of a partitioned asset, by shard, read in one go."""
        folder, suffix = self.folder / asset, f".{FACTS}"
        found: dict[str, bytes] = {}
        if is_local(folder):
            # Plain paths: with thousands of shards pathlib costs more than the reading.
            root = str(folder)
            try:
                names = os.listdir(root)  # noqa: PTH208
            except FileNotFoundError:
                return {}
            for name in names:
                if name.endswith(suffix):
                    with open(f"{root}/{name}", "rb") as file:  # noqa: PTH123
                        found[name.removesuffix(suffix)] = file.read()
        else:
            folder.fs.invalidate_cache(folder.path)
            paths = folder.fs.glob(f"{glob.escape(folder.path)}/*{suffix}")
            contents = read_all_whole(folder, paths)
            found = {path.rpartition("/")[2].removesuffix(suffix): data for path, data in contents.items()}
        # The garbage collector would walk through all of them many times, and nothing here is cyclic.
        collects = gc.isenabled()
        gc.disable()
        try:
            return {shard: facts for shard, data in found.items() if (facts := parse_facts(data))}
        finally:
            if collects:
                gc.enable()

    def shards(self) -> list[Shard]:
        """The shards that take part, in canonical order (by key): what every fan-in follows."""
        return [shard for shard in self.all_shards() if not shard.set_aside]

    def all_shards(self) -> list[Shard]:
        """Every listed shard, those that are set aside too."""
        return load_shards(self.folder)

    def known_shards(self) -> list[Shard]:
        """Every listed shard, and those that are kept for files that come back."""
        return load_known_shards(self.folder)

    def save_shards(self, shards: Sequence[Shard]) -> None:
        """Keep a new list of shards."""
        save_shards(self.folder, shards)

    def remove_shard(self, shard: str, assets: Sequence[str]) -> None:
        """Remove every file of a shard that is no longer part of the pool, facts first."""
        for asset in assets:
            output = self.output(asset, shard)
            facts = output.facts()
            output.path(FACTS).unlink(missing_ok=True)
            if facts:
                output.remove_files(facts)

    def remove_orphans(self, assets: Sequence[str], older_than_seconds: float = _ORPHAN_SECONDS) -> int:
        """Remove what killed writers left in an object store: files that no facts name.

        Args:
            assets: whose files to look through.
            older_than_seconds: younger files may belong to a running writer.

        Returns:
            Versions that were removed.
        """
        n_removed = 0
        for asset in () if is_local(self.folder) else assets:
            folder = self.folder / asset
            folder.fs.invalidate_cache(folder.path)
            # Listed before the facts are read, so that a version completed in between counts as named.
            old = [name for name in _folders_in(folder) if version_age(name) > older_than_seconds]
            if not old:
                continue
            own = self.output(asset).facts()
            named = {facts.version for facts in [*self.shard_facts(asset).values(), *([own] if own else [])]}
            for name in set(old) - named:
                remove_remote(folder, f"{folder.path}/{name}")
                n_removed += 1
        return n_removed

    def fit_rows(self) -> FitRows | None:
        """The rows that the current tree is fitted on; None before the first fit."""
        return load_fit_rows(self.folder)

    def embeddings(self) -> ShardedEmbeddings:
        """The embeddings of the whole pool as lazy rows.

        Raises:
            StaleInputError: if a shard was not embedded yet.
        """
        return ShardedEmbeddings([self.embedded(shard.key) for shard in self.shards()])

    def fitted_embeddings(self, sample: Mapping[str, np.ndarray] | None = None) -> ShardedEmbeddings:
        """The embeddings that level 1 is fitted on; the whole pool's if that was not decided yet.

        Args:
            sample: by shard the rows, ascending, of a fit on a part of them; None reads all.

        Raises:
            StaleInputError: if a shard has changed or gone since it was decided.
        """
        rows = self.fit_rows()
        if rows is None:
            keys = [shard.key for shard in self.shards()]
            whole = [self.embedded(key) for key in keys]
            return ShardedEmbeddings(whole, None if sample is None else [sample[key] for key in keys])
        outputs: list[Output] = []
        kept: list[np.ndarray | None] = []
        for key, fitted in sorted(rows.shards.items()):
            admitted = self.admitted(key) if fitted.embeddings else None
            facts = (admitted or self.embedded(key)).facts()
            if facts is None or facts.digest != fitted.digest:
                raise StaleInputError(
                    f"shard '{key}' has changed or gone since the fit of level 1 began: run level 1 from its first step"
                )
            outputs.append(self.embedded(key))
            if sample is not None:
                kept.append(sample[key])
            else:
                kept.append(admitted.kept.read() if admitted else None)
        return ShardedEmbeddings(outputs, kept)

    def fitted_content(self) -> str:
        """Digest of the embeddings that level 1 is fitted on."""
        rows = self.fit_rows()
        if rows is not None:
            return rows.digest
        shards = self.shards()
        return combined_digest(
            {shard.key: self.embedded(shard.key).require_facts().digest for shard in shards}
        )

    def n_fitted_rows(self) -> int:
        """Rows that level 1 is fitted on."""
        rows = self.fit_rows()
        return self.embeddings().n_rows if rows is None else rows.n_rows


def _folders_in(folder: UPath) -> list[str]:
    """Names of the folders right below one; none if it does not exist."""
    try:
        entries = folder.fs.ls(folder.path, detail=True)
    except FileNotFoundError:
        return []
    return [entry["name"].rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory"]
