"""Fits and assignments from equal starts: this package, flash-kmeans and faiss on the same card in one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from gpu_pools import finish, pool, print_table, room_on, seconds, spread

from curation_assets.algorithms.kmeans.fit import FitState, fit_inputs
from curation_assets.algorithms.kmeans.inputs import FitInputs
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.assigner import assign


@dataclass(frozen=True)
class Start:
    """Makes a fit begin at given centroids: see `Checkpoints`."""

    centroids: np.ndarray

    def last(self) -> FitState:
        """The state before the first iteration."""
        return FitState(self.centroids, (), len(self.centroids))

    def keep(self, state: FitState) -> None:
        """Nothing is kept."""


@dataclass(frozen=True)
class Task:
    """Rows float16 (n, d) on a device, centroids to start at, and how many iterations are made."""

    rows: torch.Tensor
    start: np.ndarray
    n_iterations: int
    device: str

    @property
    def host_rows(self) -> np.ndarray:
        """Float32 (n, d) in the memory of the host."""
        return self.rows.float().cpu().numpy()


def ours(task: Task) -> tuple[float, np.ndarray]:
    """Seconds of the iterations with rows that are on the device, and the centroids."""
    rows = ArrayRows(task.rows.cpu().numpy())
    prepared = PreparedRows(rows, fit_preprocessing(rows, metric="l2", centring=False))
    tiled = TiledRows(prepared, task.device, resident_bytes=room_on(task.device))
    inputs = FitInputs.in_process(tiled, "l2", device=task.device)
    began = finish(task.device)
    state = fit_inputs(
        inputs,
        len(task.start),
        rng=np.random.default_rng(0),
        max_iterations=task.n_iterations,
        tolerance=0,
        checkpoints=Start(task.start),
    )
    return finish(task.device) - began, np.asarray(state.centroids)


def flash_kmeans(task: Task) -> tuple[float, np.ndarray]:
    """The same with flash-kmeans, in float16."""
    from flash_kmeans import batch_kmeans_Euclid

    start = torch.from_numpy(task.start).to(task.device).half()[None]
    began = finish(task.device)
    _, centroids, _ = batch_kmeans_Euclid(
        task.rows[None], len(task.start), max_iters=task.n_iterations, tol=0.0, init_centroids=start
    )
    return finish(task.device) - began, centroids[0].float().cpu().numpy()


def faiss_kmeans(task: Task) -> tuple[float, np.ndarray]:
    """The same with faiss.Kmeans, in float32; rows are copied to the card once in every iteration."""
    import faiss

    rows, k = task.host_rows, len(task.start)
    kmeans = faiss.Kmeans(
        rows.shape[1],
        k,
        niter=task.n_iterations,
        gpu=task.device != "cpu",
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows),
        seed=1,
    )
    began = finish(task.device)
    kmeans.train(rows, init_centroids=task.start)
    return finish(task.device) - began, kmeans.centroids


def inertia(task: Task, centroids: np.ndarray) -> float:
    """Sum of the squared distances of the rows to the nearest of the centroids, exact."""
    total = 0.0
    for start in range(0, len(task.rows), 2**18):
        block = task.rows[start : start + 2**18].float().cpu().numpy()
        distances = assign(block, centroids, metric="l2", device=task.device)[1]
        total += float(np.square(distances, dtype=np.float64).sum())
    return total


FITS: dict[str, Callable[[Task], tuple[float, np.ndarray]]] = {
    "this package, exact": ours,
    "flash-kmeans, float16": flash_kmeans,
    "faiss.Kmeans, float32": faiss_kmeans,
}


def compare_fits(n: int, dimension: int, k: int, n_iterations: int, device: str) -> None:
    """Print seconds and inertia of as many iterations from the same start; libraries that are missing are named."""
    for name in ("clustered", "uneven"):
        rows = pool(name, n, dimension, device)
        start = rows[torch.from_numpy(spread(n, k)).to(device)].float().cpu().numpy()
        task, lines = Task(rows, start, n_iterations, device), []
        for library, fit in FITS.items():
            try:
                # Kernels are compiled, and libraries set up, before it counts.
                fit(Task(rows[: max(k, n // 8)], start, 2, device))
                taken, centroids = fit(task)
                lines.append((library, f"{taken:.2f}", f"{inertia(task, centroids):.6g}"))
            except Exception as error:  # a library that is missing, or that does not run at this size
                lines.append((library, "-", f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"))
        print_table(
            f"{n_iterations} iterations from the same {k:,} rows of the {name} pool, {n:,} x {dimension}",
            ("fit", "seconds", "inertia, measured exactly"),
            lines,
        )


def faiss_assignment(rows: torch.Tensor, centroids: torch.Tensor, *, is_half: bool) -> float | None:
    """Seconds of a search among the centroids with GpuIndexFlat; None without faiss-gpu."""
    try:
        import faiss
        import faiss.contrib.torch_utils

        resources, options = faiss.StandardGpuResources(), faiss.GpuIndexFlatConfig()
        options.useFloat16 = is_half
        index = faiss.GpuIndexFlatL2(resources, rows.shape[1], options)
    except (ImportError, AttributeError):
        return None
    index.add(centroids.contiguous())
    wide = rows.float()

    def search(piece: int = 2**18) -> None:
        for first in range(0, len(wide), piece):
            index.search(wide[first : first + piece], 1)

    return seconds(partial(search))


def flash_assignment(rows: torch.Tensor, centroids: torch.Tensor) -> float | None:
    """Seconds of the assignment of flash-kmeans, which is not exact; None where it does not run."""
    try:
        from flash_kmeans.assign_euclid_triton import euclid_assign_triton
    except ImportError:
        return None
    batch, half = rows[None], centroids.half()[None]
    lengths = rows.float().square().sum(dim=1)[None]
    try:
        return seconds(lambda: euclid_assign_triton(batch, half, lengths))
    except Exception as error:  # Triton reports missing resources in many ways
        print(f"flash-kmeans: {type(error).__name__} {str(error)[:120]}")
        return None
