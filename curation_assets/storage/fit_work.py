"""Working files of a fit: its states and finished resampling steps, from which a killed fit resumes."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from upath import UPath

from curation_assets.storage.atomic import remove_folder, remove_folders, staged_file
from curation_assets.storage.outputs import Output

_PREFIX = ".fit-"
_KEPT = 2
SECONDS_BETWEEN = 30.0


@dataclass(frozen=True, slots=True)
class StoredFit:
    """The stored state of a fit (see algorithms.kmeans.FitState)."""

    centroids: np.ndarray
    """float32 (k, d)."""
    inertias: tuple[float, ...]
    """After each iteration."""
    n_reassigned: int
    """In the last iteration."""


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """The last finished resampling step."""

    step: int
    centroids: np.ndarray
    """float32 (k, d)."""
    inertias: list[list[float]]
    """Of every step so far, after each iteration."""


class FitWork:
    """One fit's working folder, beside its output; its files belong to one recipe.

    States are stored at least `seconds_between` apart.
    """

    def __init__(self, folder: UPath, seconds_between: float = SECONDS_BETWEEN) -> None:
        self.folder = folder
        self._seconds_between = seconds_between

    @classmethod
    def of(cls, output: Output, recipe: str, seconds_between: float = SECONDS_BETWEEN) -> FitWork:
        """The working folder for an output; the folders of its other fits are removed.

        The recipe is the fingerprint of everything that decides the result.
        """
        folder = output.folder / f"{_PREFIX}{recipe[:16]}"
        remove_folders(output.folder, _PREFIX, but=folder.name)
        return cls(folder, seconds_between)

    def states(self, step: int) -> FitStates:
        """The states of a resampling step's fit."""
        return FitStates(self, step, self._seconds_between)

    def finished_step(self) -> FinishedStep | None:
        """The last finished resampling step."""
        steps = sorted(int(path.stem.rpartition("-")[2]) for path in self.files("step-*.npz"))
        if not steps:
            return None
        arrays = self.load(f"step-{steps[-1]}.npz")
        pieces = np.split(arrays["inertias"], np.cumsum(arrays["n_iterations"])[:-1])
        return FinishedStep(steps[-1], arrays["centroids"], [piece.tolist() for piece in pieces])

    def finish_step(self, step: int, centroids: np.ndarray, inertias: Sequence[Sequence[float]]) -> None:
        """Store a finished step (1 for the first) with the inertias of every step so far.

        The states of its fit, and the previous step, are removed.
        """
        self.save(
            f"step-{step}.npz",
            centroids=centroids,
            inertias=np.concatenate([np.array(fit, dtype=np.float64) for fit in inertias]),
            n_iterations=np.array([len(fit) for fit in inertias], dtype=np.int64),
        )
        for path in [*self.files(f"state-{step}-*.npz"), *self.files(f"step-{step - 1}.npz")]:
            path.unlink(missing_ok=True)

    def save(self, name: str, **arrays: np.ndarray) -> None:
        """Store arrays atomically."""
        with staged_file(self.folder / name) as staged, staged.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type] # numpy's stubs take a keyword for the option

    def load(self, name: str) -> dict[str, np.ndarray]:
        """Stored arrays."""
        content = io.BytesIO((self.folder / name).read_bytes())
        with np.load(content, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}

    def remove(self) -> None:
        """Remove the folder."""
        remove_folder(self.folder)

    def files(self, pattern: str) -> list[UPath]:
        """Stored files."""
        return list(self.folder.glob(pattern)) if self.folder.exists() else []


class FitStates:
    """States of one fit; the last two are kept."""

    def __init__(self, work: FitWork, step: int, seconds_between: float) -> None:
        self._work, self._step, self._seconds_between = work, step, seconds_between
        self._last = time.monotonic()

    def last(self) -> StoredFit | None:
        """The last state; None if there is none."""
        numbers = self._numbers()
        if not numbers:
            return None
        arrays = self._work.load(self._name(numbers[-1]))
        return StoredFit(arrays["centroids"], tuple(arrays["inertias"].tolist()), int(arrays["n_reassigned"]))

    def keep(self, state: StoredFit) -> None:
        """Store a state, or any object with the fields of `StoredFit`, if the last one is old enough."""
        if time.monotonic() - self._last < self._seconds_between:
            return
        self._work.save(
            self._name(len(state.inertias)),
            centroids=state.centroids,
            inertias=np.array(state.inertias, dtype=np.float64),
            n_reassigned=np.array(state.n_reassigned),
        )
        self._last = time.monotonic()
        for number in self._numbers()[:-_KEPT]:
            (self._work.folder / self._name(number)).unlink(missing_ok=True)

    def _numbers(self) -> list[int]:
        files = self._work.files(f"state-{self._step}-*.npz")
        return sorted(int(path.stem.rpartition("-")[2]) for path in files)

    def _name(self, iteration: int) -> str:
        return f"state-{self._step}-{iteration}.npz"
