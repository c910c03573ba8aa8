"""Exact searches and fits on a CUDA card: against bare products, the plain search, flash-kmeans and the CPU.

    .venv/bin/pip install flash-kmeans && .venv/bin/python benchmarks/gpu.py

TFLOP/s count 2 n k d. 'open' is the share of rows that distances in float64 decided.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from machine import describe_machine
from pools_of_vectors import POOLS

from curation_assets.algorithms import LevelSpec, fit_hierarchy
from curation_assets.algorithms.kmeans.fit import fit_kmeans
from curation_assets.algorithms.kmeans.tiles import TiledRows
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.base import NearestCentroids, SearchedRows
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cuda import launches, row_launches
from curation_assets.algorithms.search.cuda.rounding import HalfRows
from curation_assets.algorithms.search.cuda.search import CudaCentroids, Decided
from curation_assets.algorithms.search.cuda.sums import add_rows
from curation_assets.algorithms.search.plain.search import PlainCentroids

ROWS_AT_ONCE = 16_384
CHECKED_ROWS = 256


def pool(name: str, n: int, dimension: int) -> torch.Tensor:
    """The pools of `pools_of_vectors`, made on the card and stored as float16 (n, d)."""
    generator = torch.Generator("cuda").manual_seed(0)
    n_concepts, noise = {"clustered": (300, 0.8), "tight": (1000, 0.4), "uneven": (1000, 0.7)}[name]
    spectrum = torch.ones(dimension, device="cuda")
    if name == "uneven":
        spectrum = (1 + torch.arange(dimension, device="cuda")) ** -0.7
    concepts = torch.randn(n_concepts, dimension, device="cuda", generator=generator) * spectrum
    shares = 1 / torch.arange(1, n_concepts + 1, device="cuda") ** (0.8 if name == "uneven" else 1.0)
    chosen = torch.multinomial(shares, n, replacement=True, generator=generator)
    rows = torch.empty(n, dimension, dtype=torch.float16, device="cuda")
    for start in range(0, n, ROWS_AT_ONCE):
        block = concepts[chosen[start : start + ROWS_AT_ONCE]]
        block += noise * torch.randn(block.shape, device="cuda", generator=generator) * spectrum
        rows[start : start + ROWS_AT_ONCE] = torch.nn.functional.normalize(block, dim=1)
    return rows


def searched(block: torch.Tensor) -> SearchedRows:
    """Rows with the view that `CudaCentroids` keeps."""
    norms = torch.linalg.vector_norm(block, dim=1, dtype=torch.float32)
    return SearchedRows(block, norms, HalfRows.of(block, norms))


def means_of(rows: SearchedRows, k: int) -> torch.Tensor:
    """Centroids as a fit has them, float32 (k, d): the means of the rows nearest to k of the rows."""
    seeds = rows.block[torch.linspace(0, len(rows) - 1, k, device="cuda").long()].float()
    clusters = CudaCentroids(Codebook.of(seeds)).best(rows).column
    sums = torch.zeros(seeds.shape, dtype=torch.float64, device="cuda")
    add_rows(rows.block, None, clusters, None, sums)
    counts = torch.bincount(clusters, minlength=k)[:, None]
    return torch.where(counts > 0, sums / counts.clamp(min=1), seeds.double()).float()


def seconds(function: Callable[[], object], repeats: int = 3) -> float:
    """The median of some runs, after one that does not count."""
    function()
    runs = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        began = time.perf_counter()
        function()
        torch.cuda.synchronize()
        runs.append(time.perf_counter() - began)
    return statistics.median(runs)


def bare_product(rows: torch.Tensor, centroids: torch.Tensor) -> float:
    """Seconds of the float16 products of all rows with all centroids, written to memory a block at a time."""
    right = centroids.half()
    scores = torch.empty(ROWS_AT_ONCE, len(centroids), dtype=torch.float16, device="cuda")

    def multiply() -> None:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            block = rows[start : start + ROWS_AT_ONCE]
            torch.mm(block, right.T, out=scores[: len(block)])

    return seconds(multiply)


def of_flash_kmeans(rows: torch.Tensor, centroids: torch.Tensor) -> float | None:
    """Seconds of its assignment, which is not exact; None where it does not run."""
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


def is_exact(rows: SearchedRows, centroids: torch.Tensor, column: torch.Tensor) -> bool:
    """Whether some rows' centroids are those that float64 distances to all of them give."""
    every = torch.arange(len(centroids), device="cuda")
    for number in torch.linspace(0, len(rows) - 1, CHECKED_ROWS).long().tolist():
        squared = row_launches.pair_squares(rows.block, torch.full_like(every, number), centroids, every)
        if int(torch.nonzero(squared == squared.min())[0]) != int(column[number]):
            return False
    return True


def waits_of(search: CudaCentroids, rows: SearchedRows) -> tuple[Decided, int]:
    """The answer of a search, and how often it waited for the card."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            found = search.best(rows)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert isinstance(found, Decided)
    return found, sum("synchroniz" in str(warning.message) for warning in caught)


@dataclass(frozen=True)
class Shape:
    """A search to measure."""

    pool: str
    n_rows: int
    dimension: int
    k: int

    def rate(self, taken: float | None) -> str:
        """TFLOP/s, from seconds."""
        return "-" if taken is None else f"{2e-12 * self.n_rows * self.k * self.dimension / taken:.0f}"


def passes(shapes: list[Shape]) -> None:
    """Print a table of exact passes over resident rows."""
    print("pool       d      k       kernel  exact  open    product  flash  ms      waits  right")
    for shape in shapes:
        block = pool(shape.pool, shape.n_rows, shape.dimension)
        rows = searched(block)
        centroids = means_of(rows, shape.k)
        search = CudaCentroids(Codebook.of(centroids))
        tile = launches.tile_for(shape.n_rows, shape.k, shape.dimension, block.device)
        half, view = search.half, rows.view
        assert isinstance(view, HalfRows)
        of_kernel = seconds(lambda: launches.best_two(view, half, None, tile))  # noqa: B023
        taken = seconds(lambda: search.best(rows))  # noqa: B023
        found, waits = waits_of(search, rows)
        print(
            f"{shape.pool:10} {shape.dimension:<6} {shape.k:<7,} {shape.rate(of_kernel):7} {shape.rate(taken):6} "
            f"{float(found.is_open.double().mean()):<7.2%} {shape.rate(bare_product(block, centroids)):8} "
            f"{shape.rate(of_flash_kmeans(block, centroids)):6} {1e3 * taken:<7.1f} {waits:<6} "
            f"{is_exact(rows, centroids, found.column)}",
            flush=True,
        )


def small_searches(dimension: int = 384) -> None:
    """Print where the plain search is faster: rows and centroids of the fits of a split level."""
    print(
        f"\nmilliseconds of a search, new centroids included, d = {dimension}\nn       k      kernels  plain"
    )
    for n, k in (
        (500, 50),
        (1000, 100),
        (2000, 500),
        (4000, 500),
        (8000, 500),
        (20_000, 100),
        (20_000, 2000),
    ):
        block = pool("clustered", n, dimension).float()
        rows, book = searched(block), Codebook.of(means_of(searched(block), k))

        def tiled(make: Callable[[Codebook], NearestCentroids]) -> float:
            def run() -> None:
                search = make(book)  # noqa: B023
                for start in range(0, n, search.tile_rows()):  # noqa: B023
                    search.best(rows[start : start + search.tile_rows()])  # noqa: B023

            return 1e3 * seconds(run, 20)

        print(f"{n:<7,} {k:<6,} {tiled(CudaCentroids):<8.2f} {tiled(PlainCentroids):.2f}", flush=True)


def sums(n: int, dimension: int, k: int) -> None:
    """Print seconds of cluster sums by the kernel, and by `index_add_` of float64 copies."""
    rows = searched(pool("clustered", n, dimension))
    clusters = CudaCentroids(Codebook.of(means_of(rows, k))).best(rows).column
    first, second = (torch.zeros(k, dimension, dtype=torch.float64, device="cuda") for _ in range(2))

    def by_index() -> None:
        first.zero_()
        for start in range(0, n, ROWS_AT_ONCE):
            piece = slice(start, start + ROWS_AT_ONCE)
            first.index_add_(0, clusters[piece], rows.block[piece].double())

    def by_runs() -> None:
        second.zero_()
        add_rows(rows.block, None, clusters, None, second)

    of_index, of_runs = seconds(by_index), seconds(by_runs)
    print(
        f"sums, d = {dimension}, k = {k:,}: index_add_ {1e3 * of_index:.2f} ms, kernel {1e3 * of_runs:.2f} ms, "
        f"equal bytes: {torch.equal(first, second)}"
    )


def fits_like_the_cpu(n: int = 20_000, dimension: int = 384, k: int = 500) -> None:
    """Print seconds of whole fits on both devices, and whether the results have the same bytes."""
    print(f"\nfits of {n:,} x {dimension}, k = {k:,}")
    for name, make in POOLS.items():
        x = make(n, dimension).astype(np.float16)
        for metric in ("cosine", "l2"):
            rows = ArrayRows(x)
            prepared = PreparedRows(rows, fit_preprocessing(rows, metric=metric, centring=False))
            fits, taken = {}, {}
            for device in ("cuda", "cpu", "cuda"):
                began, rng = time.perf_counter(), np.random.default_rng(0)
                fits[device] = fit_kmeans(prepared, k, metric=metric, rng=rng, device=device)
                taken[device] = time.perf_counter() - began
            cpu, cuda = fits["cpu"], fits["cuda"]
            same = {
                "labels": np.array_equal(cpu.assignments, cuda.assignments),
                "distances": np.array_equal(cpu.distances, cuda.distances),
                "centroid bytes": cpu.centroids.tobytes() == cuda.centroids.tobytes(),
                "inertias": cpu.inertias == cuda.inertias,
            }
            print(
                f"{name} {metric}: cpu {taken['cpu']:.2f} s, cuda {taken['cuda']:.2f} s, "
                f"{len(cpu.inertias)} iterations; same {', '.join(key for key in same if same[key])}"
                f"; different {', '.join(key for key in same if not same[key]) or 'nothing'}",
                flush=True,
            )


def hierarchies(n: int = 20_000, dimension: int = 384) -> None:
    """Print seconds of two hierarchies on both devices, and whether the centroids have the same bytes."""
    x = POOLS["clustered"](n, dimension).astype(np.float16)
    two = [LevelSpec(n_clusters=2000, resampling_steps=2), LevelSpec(n_clusters=200, resampling_steps=2)]
    for name, levels in (
        ("2,000 and 200", two),
        ("2,000 in 20 parts", [LevelSpec(n_clusters=2000, n_coarse_clusters=20)]),
    ):
        trees, taken = {}, {}
        for device in ("cuda", "cpu", "cuda"):
            began = time.perf_counter()
            trees[device] = fit_hierarchy(x, levels, metric="cosine", seed=0, device=device)
            taken[device] = time.perf_counter() - began
        pairs = zip(trees["cpu"].levels, trees["cuda"].levels, strict=True)
        same = all(a.centroids.tobytes() == b.centroids.tobytes() for a, b in pairs)
        print(
            f"hierarchy {name}: cpu {taken['cpu']:.2f} s, cuda {taken['cuda']:.2f} s, same centroid bytes {same}"
        )


def large_fit(n: int, dimension: int, k: int, n_iterations: int = 4) -> None:
    """Print seconds of the stages of a fit with resident rows."""
    rows = ArrayRows(pool("clustered", n, dimension).cpu().numpy())
    prepared = PreparedRows(rows, fit_preprocessing(rows, metric="l2", centring=False))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    tiled = TiledRows(prepared, "cuda", resident_bytes=40 * 2**30)
    torch.cuda.synchronize()
    marks = [time.perf_counter()]
    fit_kmeans(
        tiled, k, metric="l2", rng=np.random.default_rng(0), max_iterations=n_iterations, tolerance=0,
        device="cuda", on_iteration=lambda _: marks.append(time.perf_counter()),
    )  # fmt: skip
    ends, shape = time.perf_counter(), Shape("clustered", n, dimension, k)
    later = [after - before for before, after in pairwise(marks[1:])]
    print(
        f"\nfit of {n:,} x {dimension}, k = {k:,}: reading {marks[0] - began:.1f} s; seeds and first iteration "
        f"{marks[1] - marks[0]:.2f} s; later iterations {', '.join(f'{taken:.3f}' for taken in later)} s "
        f"({', '.join(shape.rate(taken) for taken in later)} TFLOP/s); distances {ends - marks[-1]:.2f} s; "
        f"peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB",
        flush=True,
    )


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, nargs="*", default=[384, 768, 1024])
    parser.add_argument("--clusters", type=int, nargs="*", default=[4096, 16_384, 50_000])
    parser.add_argument("--pools", nargs="*", default=["clustered", "tight", "uneven"])
    chosen = parser.parse_args()
    print(torch.cuda.get_device_name(), describe_machine("torch", "triton", "flash-kmeans"), sep="\n")
    fits_like_the_cpu()
    hierarchies()
    large_fit(chosen.rows, 768, 10_000)
    small_searches()
    passes(
        [
            Shape(name, chosen.rows, dimension, k)
            for name in chosen.pools
            for dimension in chosen.dimensions
            for k in chosen.clusters
        ]
    )
    for dimension in chosen.dimensions[-2:]:
        for k in chosen.clusters:
            sums(chosen.rows, dimension, k)


if __name__ == "__main__":
    main()
