"""Working files of a split level's fit, from which a killed run resumes; removed when the level is stored."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from upath import UPath

from curation_assets.locations import is_local
from curation_assets.storage.atomic import TEMPORARY_PREFIX, remove_folders, remove_if_left, staged_file
from curation_assets.storage.fingerprint import fingerprint
from curation_assets.storage.outputs import Output

_PREFIX = ".split-"
_CENTROIDS, _ASSIGNMENTS, _COUNTS = "coarse_centroids.npy", "coarse_assignments.npy", "coarse_counts.npy"
_INERTIAS = "coarse.json"


@dataclass(frozen=True, slots=True)
class StoredCoarse:
    """The coarse fit of a split level."""

    centroids: np.ndarray
    """float32 (k_coarse, d)."""
    assignments: np.ndarray
    """int32 (n,), memory-mapped: the coarse cluster of each row."""
    counts: np.ndarray
    """int64 (k_coarse,): rows of each coarse cluster."""
    inertias: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SplitChunk:
    """The sub-clusters of one bucket (see algorithms.splitting.SplitBucket)."""

    centroids: np.ndarray
    """float32 (k, d)."""
    of_cluster: np.ndarray
    """int64 (k,), ascending."""


class SplitWork:
    """One fit's working folder on this machine; its files belong to the same rows, settings, code and coarse fit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, output: Output, recipe: str, parent: str | None = None) -> SplitWork:
        """The working folder for an output; the folders of its other fits are removed.

        It is beside the output's files if those are local, else among this machine's temporary files. Then a fit
        resumes only on the machine where it began. `parent`, which outputs may share, takes the place of both.
        The recipe is the fingerprint of everything that decides the result.
        """
        within = _parent(output) if parent is None else Path(parent) / _own_name(output)
        folder = within / f"{_PREFIX}{recipe[:16]}"
        remove_folders(UPath(within), _PREFIX, but=folder.name)
        for leftover in folder.glob(f"{TEMPORARY_PREFIX}*") if folder.exists() else ():
            remove_if_left(leftover)
        return cls(folder)

    def path(self, name: str) -> UPath:
        """Path of the working file `name`."""
        return UPath(self.folder / name)

    def coarse(self) -> StoredCoarse | None:
        """The coarse fit; None if it is not finished."""
        try:
            text = self.path(_INERTIAS).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return StoredCoarse(
            self.load(_CENTROIDS),
            np.load(self.folder / _ASSIGNMENTS, mmap_mode="r", allow_pickle=False),
            self.load(_COUNTS),
            tuple(json.loads(text)),
        )

    def save_coarse(
        self, centroids: np.ndarray, assignments: np.ndarray, inertias: tuple[float, ...]
    ) -> None:
        """Store the coarse fit; runs and chunks of an earlier one are removed.

        Args:
            centroids: float32 (k_coarse, d).
            assignments: int (n,).
            inertias: after each iteration.
        """
        self.remove()
        self.folder.mkdir(mode=0o700, parents=True)
        self.save(_CENTROIDS, centroids)
        self.save(_ASSIGNMENTS, assignments.astype(np.int32))
        self.save(_COUNTS, np.bincount(assignments, minlength=len(centroids)))
        with staged_file(self.path(_INERTIAS)) as staged:
            staged.write_text(json.dumps(inertias), encoding="utf-8")

    def has_chunk(self, first: int, last: int) -> bool:
        """Whether the coarse clusters from `first` up to `last` are split."""
        return self.path(_chunk_name(first, last)).exists()

    def chunk(self, first: int, last: int) -> SplitChunk:
        """The sub-clusters of the coarse clusters from `first` up to `last`."""
        with np.load(self.folder / _chunk_name(first, last), allow_pickle=False) as arrays:
            return SplitChunk(arrays["centroids"], arrays["of_cluster"])

    def chunk_of_cluster(self, first: int, last: int) -> np.ndarray:
        """`SplitChunk.of_cluster` alone."""
        with np.load(self.folder / _chunk_name(first, last), allow_pickle=False) as arrays:
            return np.asarray(arrays["of_cluster"])

    def save_chunk(self, first: int, last: int, chunk: SplitChunk) -> None:
        """Store the sub-clusters of the coarse clusters from `first` up to `last`."""
        with staged_file(self.path(_chunk_name(first, last))) as staged, staged.open("wb") as file:
            np.savez(file, centroids=chunk.centroids, of_cluster=chunk.of_cluster)

    def load(self, name: str) -> np.ndarray:
        """A small working array."""
        return np.asarray(np.load(self.folder / name, allow_pickle=False))

    def save(self, name: str, array: np.ndarray) -> None:
        """Store an array atomically."""
        with staged_file(self.path(name)) as staged, staged.open("wb") as file:
            np.save(file, array, allow_pickle=False)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_split_work(output: Output) -> None:
    """Remove the working folders of an output's fits."""
    remove_folders(UPath(_parent(output)), _PREFIX)


def _parent(output: Output) -> Path:
    if is_local(output.folder):
        return Path(str(output.folder))
    return Path(tempfile.gettempdir()) / _own_name(output)


def _own_name(output: Output) -> str:
    return f"curation-assets-{fingerprint(str(output.folder))[:16]}"


def _chunk_name(first: int, last: int) -> str:
    return f"chunk-{first}-{last}.npz"
