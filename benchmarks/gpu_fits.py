"""Whole fits on a device: like the CPU's, hierarchies, split levels, streamed rows, and level 1 end to end."""

from __future__ import annotations

import time

import numpy as np
import torch
from gpu_pools import Peak, finish, print_table, room_on, seconds, spread, stored_pool
from pools_of_vectors import POOLS

from curation_assets.algorithms import LevelSpec, fit_hierarchy
from curation_assets.algorithms.hierarchy import FitProgress, LevelFitter
from curation_assets.algorithms.kmeans.fit import fit_kmeans
from curation_assets.algorithms.kmeans.inputs import FitInputs
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.codebook import Codebook


def fits_like_the_cpu(device: str, n: int, dimension: int, k: int) -> None:
    """Print seconds of whole fits on both devices, and whether the results have the same bytes."""
    lines = []
    for name, make in POOLS.items():
        rows = ArrayRows(make(n, dimension).astype(np.float16))
        for metric in ("cosine", "l2"):
            prepared = PreparedRows(rows, fit_preprocessing(rows, metric=metric, centring=False))
            fits, taken = {}, {}
            # The first fit compiles kernels.
            for where in (device, "cpu", device):
                began, rng = finish(device), np.random.default_rng(0)
                fits[where] = fit_kmeans(prepared, k, metric=metric, rng=rng, device=where)
                taken[where] = finish(device) - began
            ours, theirs = fits["cpu"], fits[device]
            same = {
                "labels": np.array_equal(ours.assignments, theirs.assignments),
                "distances": np.array_equal(ours.distances, theirs.distances),
                "centroid bytes": ours.centroids.tobytes() == theirs.centroids.tobytes(),
                "inertias": ours.inertias == theirs.inertias,
            }
            different = ", ".join(key for key in same if not same[key]) or "nothing"
            lines.append(
                (
                    name,
                    metric,
                    len(ours.inertias),
                    f"{taken['cpu']:.2f}",
                    f"{taken[device]:.2f}",
                    different,
                )
            )
    print_table(
        f"Fits of {n:,} x {dimension}, k = {k:,}",
        ("pool", "metric", "iterations", "cpu, s", f"{device}, s", "different"),
        lines,
    )


def hierarchies(device: str, n: int, dimension: int, k: int) -> None:
    """Print seconds of a hierarchy and of a split level on both devices, and whether centroids have the same bytes."""
    x, lines = POOLS["clustered"](n, dimension).astype(np.float16), []
    two = [
        LevelSpec(n_clusters=k, resampling_steps=2),
        LevelSpec(n_clusters=max(2, k // 10), resampling_steps=2),
    ]
    for name, levels in (
        (f"{k:,} and {k // 10:,}", two),
        (f"{k:,} in 20 parts", [LevelSpec(n_clusters=k, n_coarse_clusters=20)]),
    ):
        trees, taken = {}, {}
        for where in (device, "cpu", device):
            began = finish(device)
            trees[where] = fit_hierarchy(x, levels, metric="cosine", seed=0, device=where)
            taken[where] = finish(device) - began
        pairs = zip(trees["cpu"].levels, trees[device].levels, strict=True)
        same = all(a.centroids.tobytes() == b.centroids.tobytes() for a, b in pairs)
        lines.append((name, f"{taken['cpu']:.2f}", f"{taken[device]:.2f}", same))
    print_table(f"Hierarchies of {n:,} x {dimension}", ("clusters", "cpu, s", f"{device}, s", "same"), lines)


def split_level(device: str, n: int, dimension: int, n_coarse: int, per_cluster: int) -> None:
    """Print seconds of the coarse fit and of the thousands of small fits of a split level, on both devices."""
    prepared = stored_pool("clustered", n, dimension, device, "cosine")
    spec = LevelSpec(n_clusters=n_coarse * per_cluster, n_coarse_clusters=n_coarse, max_iterations=20)
    lines, found = [], {}
    for where in dict.fromkeys((device, "cpu")):
        marks: list[float] = []

        def mark(_: FitProgress, marks: list[float] = marks) -> None:
            marks.append(time.perf_counter())

        fitter = LevelFitter(level=1, spec=spec, metric="cosine", seed=0, device=where, on_progress=mark)
        began = finish(device)
        found[where] = fitter.fit_initial(prepared)
        ended = finish(device)
        lines.append((where, f"{marks[-1] - began:.1f}", f"{ended - marks[-1]:.1f}"))
    same = found[device].centroids.tobytes() == found["cpu"].centroids.tobytes()
    print_table(
        f"Split level of {n:,} x {dimension}: {n_coarse:,} fits of {per_cluster} clusters; same bytes: {same}",
        ("device", "coarse fit, s", "distances and small fits, s"),
        lines,
    )


def streaming(device: str, n: int, dimension: int, k: int) -> None:
    """Print seconds of an exact pass over resident rows, and over rows that are copied in every pass."""
    prepared = stored_pool("clustered", n, dimension, device, "cosine")
    book = Codebook.of(torch.from_numpy(prepared.take(spread(n, k))).to(device))
    lines = []
    for name, resident in (("resident", room_on(device)), ("streamed", 0)):
        tiled = TiledRows(prepared, device, resident_bytes=resident)
        norms, search = tiled.norms(), tiled.search_among(book)

        def one_pass(tiled: TiledRows = tiled, norms: torch.Tensor = norms, search=search) -> None:  # type: ignore[no-untyped-def]
            def of_tile(start: int, block: torch.Tensor) -> None:
                rows = slice(start, start + len(block))
                search.best(tiled.searched(search, rows, block, norms[rows]))

            tiled.each_tile(of_tile, search.tile_rows())

        taken = seconds(one_pass, device=device)
        lines.append(
            (
                name,
                f"{taken:.3f}",
                f"{2e-12 * n * k * dimension / taken:.0f}",
                f"{2e-9 * n * dimension / taken:.1f}",
            )
        )
        del tiled, norms, search
    print_table(
        f"A pass of {n:,} x {dimension} over {k:,} centroids",
        ("rows", "seconds", "TFLOP/s", "GB/s of stored rows"),
        lines,
    )


def level_1(
    device: str, n: int, dimension: int, k: int, steps: int, iterations: int, room: int | None
) -> None:
    """Print seconds of all stages of level 1: reading, seeds, iterations, each resampling step."""
    prepared = stored_pool("clustered", n, dimension, device, "cosine")
    peak, began = Peak(device), finish(device)
    tiled = TiledRows(prepared, device, resident_bytes=room_on(device) if room is None else room)
    inputs = FitInputs.in_process(tiled, "cosine", device=device)
    marks: list[tuple[int, float, float]] = []

    def mark(progress: FitProgress) -> None:
        marks.append((progress.step, time.perf_counter(), progress.iteration.inertia))

    spec = LevelSpec(n_clusters=k, resampling_steps=steps, max_iterations=iterations)
    fitter = LevelFitter(level=1, spec=spec, metric="cosine", seed=0, device=device, on_progress=mark)
    ends = [finish(device)]
    level = fitter.fit_initial(inputs)
    ends.append(finish(device))
    for step in range(1, steps + 1):
        level = fitter.refit(inputs, fitter.resample(level, step), step)
        ends.append(finish(device))
    lines = [("reading", f"{ends[0] - began:.1f}", "", "")]
    for step in range(steps + 1):
        mine = [seen for seen in marks if seen[0] == step]
        seeds, later = mine[0][1] - ends[step], mine[-1][1] - mine[0][1]
        what = "initial fit" if step == 0 else f"resampling step {step}"
        rest = ends[step + 1] - mine[-1][1]
        detail = (
            f"seeds and first iteration {seeds:.1f}, {len(mine) - 1} more {later:.1f}, the rest {rest:.1f}"
        )
        lines.append((what, f"{ends[step + 1] - ends[step]:.1f}", detail, f"{mine[-1][2]:.6g}"))
    lines.append(("all", f"{ends[-1] - began:.1f}", f"peak {peak}", ""))
    print_table(
        f"Level 1 of {n:,} x {dimension}, k = {k:,}, {iterations} iterations at most, {steps} resampling steps; rows "
        f"{'resident' if tiled.is_resident else 'streamed'}",
        ("stage", "seconds", "of which", "inertia"),
        lines,
    )
