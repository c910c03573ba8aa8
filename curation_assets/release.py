"""What an asset of your own gets of `dataset_release`: each target as a folder and as a lazy table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from upath import UPath

from curation_assets.errors import CurationError, StaleInputError
from curation_assets.locations import is_local
from curation_assets.storage.outputs import Facts
from curation_assets.storage.tables import DatasetRelease

_DATA = "data/"


@dataclass(frozen=True)
class Release:
    """A finished release as it was when it was opened; nothing is loaded yet.

    In an object store each release has a folder of its own, which the next release removes.
    """

    output: DatasetRelease
    """The stored output."""
    facts: Facts
    """How it was made: counts, digests of its files."""

    @classmethod
    def open(cls, output: DatasetRelease) -> Release:
        """The release that is stored now.

        Raises:
            StaleInputError: if it has not been made yet.
        """
        facts = output.facts()
        if facts is None:
            raise StaleInputError(
                f"{output.folder.parent.name}/{output.asset} has not been made yet: materialize it first"
            )
        return cls(output, facts)

    @property
    def path(self) -> UPath:
        """The folder that holds a folder for each target."""
        return self.output.path("any").parent

    @property
    def digest(self) -> str:
        """SHA-256 of the content: equal releases have equal digests."""
        return self.facts.digest

    @cached_property
    def targets(self) -> Mapping[str, ReleasedTarget]:
        """The targets by name."""
        names = sorted({name.partition("/")[0] for name in self.facts.files})
        return {name: ReleasedTarget(self, name) for name in names}

    def __getitem__(self, target: str) -> ReleasedTarget:
        """A target by name.

        Raises:
            CurationError: if the release has no such target, with the names of those it has.
        """
        if target not in self.targets:
            raise CurationError(f"the release has no target '{target}'; it has: {', '.join(self.targets)}")
        return self.targets[target]

    def scan(self, target: str | None = None) -> pl.LazyFrame:
        """The samples of a target; see `ReleasedTarget.scan`.

        Args:
            target: its name; may be left out if there is only one.

        Raises:
            CurationError: if there are several and none is named, or none of this name.
        """
        if target is None and len(self.targets) > 1:
            raise CurationError(f"name one of the targets: {', '.join(self.targets)}")
        return self[target or next(iter(self.targets))].scan()


@dataclass(frozen=True)
class ReleasedTarget:
    """One target of a release."""

    release: Release
    name: str

    @property
    def path(self) -> UPath:
        """The target's folder: `datasets.load_dataset(str(path))` reads it."""
        return self.release.output.path(f"{self.name}/{DatasetRelease.MANIFEST}").parent

    @property
    def files(self) -> list[UPath]:
        """Its Parquet files, in the order of the shards."""
        found = sorted(name for name in self.release.facts.files if name.startswith(f"{self.name}/{_DATA}"))
        return [self.release.output.path(name) for name in found]

    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` says: size, start level, seed, tree version, files with rows and SHA-256."""
        path = self.release.output.path(f"{self.name}/{DatasetRelease.MANIFEST}")
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return manifest

    def scan(self) -> pl.LazyFrame:
        """Its samples, one row each, read when the frame is collected; only the columns that are asked for.

        Raises:
            CurationError: if the pool writes no Parquet.
        """
        files = self.files
        if not files:
            raise CurationError(
                f"target '{self.name}' has no Parquet files: add parquet to outputs of the pool"
            )
        if is_local(files[0]):
            # A shard's key may have brackets, which polars would take for a pattern.
            return pl.scan_parquet([Path(str(file)) for file in files], glob=False)
        import pyarrow.dataset as ds

        dataset = ds.dataset([file.path for file in files], format="parquet", filesystem=files[0].fs)
        return pl.scan_pyarrow_dataset(dataset)
