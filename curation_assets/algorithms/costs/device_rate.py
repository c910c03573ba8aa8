"""How fast a device compares rows with centroids: measured in a fraction of a second, or from its data sheet."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from curation_assets.algorithms.search.assigner import assign
from curation_assets.algorithms.search.base import SearchedRows
from curation_assets.algorithms.search.choose import nearest_centroids
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.threads import parts_on_threads

A100_TFLOPS = 312.0
"""bfloat16 tensor cores, dense, NVIDIA's data sheet."""
DEFAULT_UTILISATION = 0.4
"""Assumed, not measured: each score is written and read again besides being multiplied out, which at 1,024 dimensions
takes an A100 (2 TB/s) about as long as the product itself."""
_PROBE_ROWS, _PROBE_CENTROIDS, _PROBE_NOISE, _REPEATS = 4096, 1024, 0.8, 5
# What a pass spends on a row besides its distances (its own score, rounding, updates), in distances: measured at 384
# dimensions (1.3 us a row where a distance takes 3.9 ns).
ROW_DISTANCES = 300
# Fixed time of a pass over a few rows, of a step of the greedy search for seeds, and of the small product of one
# coarse cluster with a chunk's rows in it (measured on a CPU; on GPUs they stand for starting some tens of kernels).
PASS_SECONDS, STEP_SECONDS, SMALL_PRODUCT_SECONDS = 1.5e-3, 2.5e-4, 1.5e-4


@dataclass(frozen=True, slots=True)
class DeviceRate:
    """Floating-point operations in distances per second, of one device."""

    search_flops: float
    """Of searches in which most rows stay where they are: seeding and Lloyd's iterations."""
    assign_flops: float
    """Of assignments from scratch, which name a centroid for every row."""
    small_fits_at_once: int = 1
    """Fits of a split level that run side by side."""
    source: str = ""
    """Where the figures come from, for people."""


def gpu_rate(tflops: float = A100_TFLOPS, utilisation: float = DEFAULT_UTILISATION) -> DeviceRate:
    """The rate of a GPU that this machine does not have.

    Args:
        tflops: peak of its bfloat16 products, in 1e12 operations per second.
        utilisation: share of the peak that a fit reaches, above 0 and at most 1.

    Raises:
        ValueError: if a value is out of range.
    """
    if not tflops > 0:
        raise ValueError(f"tflops is {tflops}, but must be above 0")
    if not 0 < utilisation <= 1:
        raise ValueError(f"utilisation is {utilisation}, but must be above 0 and at most 1")
    flops = tflops * 1e12 * utilisation
    return DeviceRate(flops, flops, source=f"{tflops:g} TFLOP/s peak x {utilisation:g} utilisation, assumed")


def measure_rate(
    dimension: int, device: str = "cpu", *, clock: Callable[[], float] = time.perf_counter
) -> DeviceRate:
    """The rate of this machine, on rows around random centroids; takes 0.2 to 0.6 s on two cores.

    Args:
        dimension: length of a row.
        device: torch device.
        clock: seconds; with one torch thread `time.process_time` leaves out other processes.
    """
    generator = torch.Generator().manual_seed(0)
    centroids = _unit(torch.randn(_PROBE_CENTROIDS, dimension, generator=generator))
    noise = _unit(torch.randn(_PROBE_ROWS, dimension, generator=generator))
    block = _unit(centroids.repeat(_PROBE_ROWS // _PROBE_CENTROIDS, 1) + _PROBE_NOISE * noise)
    flops = 2 * dimension * _PROBE_ROWS * _PROBE_CENTROIDS
    rows, book = block.numpy(), centroids.numpy()
    assigning = _seconds(lambda: assign(rows, book, metric="cosine", device=device), clock)
    searching = _seconds(lambda: _search(block.to(device), centroids.to(device)), clock)
    return DeviceRate(
        flops / searching,
        flops / assigning,
        torch.get_num_threads() if device == "cpu" else 1,
        f"measured just now on '{device}', {torch.get_num_threads()} threads",
    )


def _search(block: torch.Tensor, centroids: torch.Tensor) -> None:
    """Search for rows that no centroid can win, as Lloyd's later iterations do."""
    search = nearest_centroids(Codebook.of(centroids), len(block))
    norms = torch.linalg.vector_norm(block, dim=1)
    view = None if search.viewer is None else search.viewer.view(block, norms)
    beyond_reach = torch.full_like(norms, 10.0)
    with parts_on_threads():
        for start in range(0, len(block), search.tile_rows()):
            tile = slice(start, start + search.tile_rows())
            of_tile, own = None if view is None else view[tile], beyond_reach[tile]
            rows = SearchedRows(block[tile], norms[tile], of_tile, at_least=own, own=own)
            search.leading(rows, runner_up=True)


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """The shortest of a few runs: what disturbs one only ever makes it longer."""
    work()
    runs = []
    for _ in range(_REPEATS):
        began = clock()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        runs.append(clock() - began)
    return min(runs)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
