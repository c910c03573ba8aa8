"""Working files of a fit: states after iterations and finished resampling steps, so that a killed fit goes on."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import numpy as np
from upath import UPath

from curation_assets.storage.atomic import Leftovers, staged_file
from curation_assets.storage.outputs import Output

_PREFIX = ".fit-"
_KEPT = 2
SECONDS_BETWEEN = 30.0


@dataclass(frozen=True, slots=True)
class StoredFit:
    """What is kept of a fit (see algorithms.kmeans.FitState)."""

    centroids: np.ndarray
    """float32 (k, d)."""
    inertias: tuple[float, ...]
    """After each iteration."""
    n_reassigned: int
    """In the last iteration."""


class FitWork:
    """One fit's working folder, beside its output. What lies in it belongs to one recipe.

    Args:
        folder: made when needed.
        seconds_between: at least so many seconds lie between two states that are kept.
    """

    def __init__(self, folder: UPath, seconds_between: float = SECONDS_BETWEEN) -> None:
        self.folder = folder
        self._seconds_between = seconds_between

    @classmethod
    def of(cls, output: Output, recipe: str, seconds_between: float = SECONDS_BETWEEN) -> FitWork:
        """The working folder for an output; those of other fits of it are removed.

        Args:
            output: what is being fitted.
            recipe: fingerprint of everything that decides the result.
            seconds_between: see the class.
        """
        folder = output.folder / f"{_PREFIX}{recipe[:16]}"
        for other in output.folder.glob(f"{_PREFIX}*") if output.folder.exists() else ():
            if other.name != folder.name:
                _remove(other)
        return cls(folder, seconds_between)

    def states(self, step: int) -> FitStates:
        """Where the fit of a resampling step keeps its states."""
        return FitStates(self, step, self._seconds_between)

    def finished_step(self) -> tuple[int, StoredFit] | None:
        """The last resampling step that is finished."""
        steps = sorted(int(path.stem.rpartition("-")[2]) for path in self._files("step-*.npz"))
        return (steps[-1], self.load(f"step-{steps[-1]}.npz")) if steps else None

    def finish_step(self, step: int, fit: StoredFit) -> None:
        """Keep a finished step; the states of its fit, and the step before, go."""
        self.save(f"step-{step}.npz", fit)
        for path in [*self._files(f"state-{step}-*.npz"), *self._files(f"step-{step - 1}.npz")]:
            path.unlink(missing_ok=True)

    def save(self, name: str, fit: StoredFit) -> None:
        """Keep a fit atomically."""
        leftovers = Leftovers()
        with staged_file(self.folder / name, leftovers) as staged, staged.open("wb") as file:
            inertias, n_reassigned = np.array(fit.inertias, dtype=np.float64), np.array(fit.n_reassigned)
            np.savez(file, centroids=fit.centroids, inertias=inertias, n_reassigned=n_reassigned)

    def load(self, name: str) -> StoredFit:
        """A fit that was kept."""
        content = io.BytesIO((self.folder / name).read_bytes())
        with np.load(content, allow_pickle=False) as arrays:
            inertias = tuple(arrays["inertias"].tolist())
            return StoredFit(arrays["centroids"], inertias, int(arrays["n_reassigned"]))

    def remove(self) -> None:
        """Remove the folder."""
        _remove(self.folder)

    def _files(self, pattern: str) -> list[UPath]:
        return list(self.folder.glob(pattern)) if self.folder.exists() else []


class FitStates:
    """States of one fit; the last two are kept, as one may be on its way when the process ends.

    Args:
        work: where.
        step: resampling step of the fit.
        seconds_between: see `FitWork`.
    """

    def __init__(self, work: FitWork, step: int, seconds_between: float) -> None:
        self._work, self._step, self._seconds_between = work, step, seconds_between
        self._last = time.monotonic()

    def last(self) -> StoredFit | None:
        """The last state; None if the fit has to begin."""
        numbers = self._numbers()
        return self._work.load(self._name(numbers[-1])) if numbers else None

    def keep(self, state: StoredFit) -> None:
        """Keep a state, if the last one is old enough.

        Args:
            state: anything with the fields of `StoredFit`.
        """
        if time.monotonic() - self._last < self._seconds_between:
            return
        self._work.save(self._name(len(state.inertias)), state)
        self._last = time.monotonic()
        for number in self._numbers()[:-_KEPT]:
            (self._work.folder / self._name(number)).unlink(missing_ok=True)

    def _numbers(self) -> list[int]:
        files = self._work._files(f"state-{self._step}-*.npz")  # noqa: SLF001 - two classes, one folder
        return sorted(int(path.stem.rpartition("-")[2]) for path in files)

    def _name(self, iteration: int) -> str:
        return f"state-{self._step}-{iteration}.npz"


def _remove(folder: UPath) -> None:
    if folder.exists():
        folder.fs.rm(folder.path, recursive=True)
