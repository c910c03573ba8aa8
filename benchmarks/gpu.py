"""Exact searches and fits on a CUDA card: against bare products, the plain search, other libraries and the CPU.

    .venv/bin/pip install 'flash-kmeans>=0.3' faiss-gpu-cu12 && .venv/bin/python benchmarks/gpu.py --parts all

Libraries that are not installed are left out. TFLOP/s count 2 n k d. 'open' is the share of rows that distances in
float64 decided. Without `--parts` all but `level1` is measured, which takes minutes; with `--device cpu` the parts that
need no kernels run on the processor, to try the script.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from gpu_fits import fits_like_the_cpu, hierarchies, level_1, split_level, streaming
from gpu_others import compare_fits, faiss_assignment, flash_assignment
from gpu_pools import POOL_NAMES, ROWS_AT_ONCE, pool, print_table, seconds
from machine import describe_machine

from curation_assets.algorithms.search.base import NearestCentroids, SearchedRows
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.search.cuda import launches, row_launches
from curation_assets.algorithms.search.cuda.rounding import HalfRows
from curation_assets.algorithms.search.cuda.search import CudaCentroids, Decided
from curation_assets.algorithms.search.cuda.sums import add_rows
from curation_assets.algorithms.search.plain.search import PlainCentroids

CHECKED_ROWS = 256
PARTS = ("fits", "hierarchies", "small", "passes", "sums", "others", "split", "streaming", "level1")
NEED_KERNELS = ("small", "passes", "sums")


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


def bare_product(rows: torch.Tensor, centroids: torch.Tensor) -> float:
    """Seconds of the float16 products of all rows with all centroids, written to memory a block at a time."""
    right = centroids.half()
    scores = torch.empty(ROWS_AT_ONCE, len(centroids), dtype=torch.float16, device="cuda")

    def multiply() -> None:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            block = rows[start : start + ROWS_AT_ONCE]
            torch.mm(block, right.T, out=scores[: len(block)])

    return seconds(multiply)


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
    """Print exact passes over resident rows beside the kernel, a bare product and assignments that are not exact."""
    lines = []
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
        lines.append(
            (
                shape.pool,
                shape.dimension,
                f"{shape.k:,}",
                shape.rate(taken),
                shape.rate(of_kernel),
                shape.rate(bare_product(block, centroids)),
                shape.rate(flash_assignment(block, centroids)),
                shape.rate(faiss_assignment(block, centroids, is_half=False)),
                shape.rate(faiss_assignment(block, centroids, is_half=True)),
                f"{float(found.is_open.double().mean()):.1%}",
                f"{1e3 * taken:.1f}",
                waits,
                is_exact(rows, centroids, found.column),
            )
        )
    print_table(
        f"Passes over {shapes[0].n_rows:,} resident rows, TFLOP/s",
        (
            "pool", "d", "k", "exact", "kernel alone", "bare float16 product", "flash-kmeans", "faiss float32",
            "faiss float16", "open", "ms", "waits", "right",
        ),
        lines,
    )  # fmt: skip


def small_searches(dimension: int = 384) -> None:
    """Print where the plain search is faster: rows and centroids of the fits of a split level."""
    lines = []
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

        lines.append((f"{n:,}", f"{k:,}", f"{tiled(CudaCentroids):.2f}", f"{tiled(PlainCentroids):.2f}"))
    print_table(
        f"Small searches, new centroids included, d = {dimension}",
        ("rows", "centroids", "kernels, ms", "plain, ms"),
        lines,
    )


def sums(n: int, dimension: int, k: int) -> tuple[object, ...]:
    """A line with the time of cluster sums by the kernel, and by `index_add_` of float64 copies."""
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
    return dimension, f"{k:,}", f"{1e3 * of_index:.2f}", f"{1e3 * of_runs:.2f}", torch.equal(first, second)


def main(arguments: list[str] | None = None) -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="*", choices=[*PARTS, "all"], default=list(PARTS[:-1]))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, nargs="*", default=[384, 768, 1024])
    parser.add_argument("--clusters", type=int, nargs="*", default=[4096, 16_384, 50_000])
    parser.add_argument("--pools", nargs="*", choices=POOL_NAMES, default=list(POOL_NAMES))
    parser.add_argument("--fit-rows", type=int, default=20_000, help="rows of fits on both devices")
    parser.add_argument("--coarse", type=int, default=2000, help="small fits of the split level")
    parser.add_argument(
        "--level-1", type=int, nargs=3, metavar=("N", "D", "K"), default=[5_000_000, 1024, 50_000]
    )
    parser.add_argument("--steps", type=int, default=10, help="resampling steps of level 1")
    parser.add_argument("--iterations", type=int, default=15, help="most iterations of level 1")
    parser.add_argument(
        "--room", type=float, help="GB that rows of level 1 may take (default: 0.8 of what is free)"
    )
    chosen = parser.parse_args(arguments)
    device, n, small, wide = chosen.device, chosen.rows, chosen.fit_rows, chosen.dimensions[-1]
    parts = set(PARTS if "all" in chosen.parts else chosen.parts)
    if device == "cpu":
        parts -= set(NEED_KERNELS)
    where = "the processor" if device == "cpu" else torch.cuda.get_device_name(device)
    print(where, describe_machine("torch", "triton", "flash-kmeans", "faiss-cpu", "faiss-gpu-cu12"), sep="\n")
    shapes = [
        Shape(name, n, d, k) for name in chosen.pools for d in chosen.dimensions for k in chosen.clusters
    ]
    run: dict[str, Callable[[], None]] = {
        "fits": lambda: fits_like_the_cpu(device, small, chosen.dimensions[0], max(2, small // 40)),
        "hierarchies": lambda: hierarchies(device, small, chosen.dimensions[0], max(20, small // 10)),
        "small": small_searches,
        "passes": lambda: passes(shapes),
        "sums": lambda: print_table(
            f"Sums of {n:,} rows",
            ("d", "k", "index_add_, ms", "kernel, ms", "same bytes"),
            [sums(n, d, k) for d in chosen.dimensions[-2:] for k in chosen.clusters],
        ),
        "others": lambda: (
            [compare_fits(n, d, chosen.clusters[0], 10, device) for d in chosen.dimensions[-2:]] and None
        ),
        "split": lambda: split_level(device, 10 * small, chosen.dimensions[0], chosen.coarse, 20),
        "streaming": lambda: streaming(device, n, wide, chosen.clusters[-1]),
        "level1": lambda: level_1(
            device, *chosen.level_1, chosen.steps, chosen.iterations, chosen.room and int(chosen.room * 1e9)
        ),
    }
    for part in PARTS:
        if part in parts:
            run[part]()


if __name__ == "__main__":
    main()
