"""How fast a device compares rows with centroids: measured in a fraction of a second, or from its data sheet."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from curation_assets.algorithms.costs.cards import ASSUMED_UTILISATION, CARDS, DEFAULT_CARD
from curation_assets.algorithms.search.assigner import assign, assign_rows
from curation_assets.algorithms.search.base import SearchedRows
from curation_assets.algorithms.search.choose import nearest_centroids
from curation_assets.algorithms.search.codebook import Codebook
from curation_assets.algorithms.threads import parts_on_threads

_NOISE, _REPEATS = 0.8, 5
# What a pass spends on a row besides its distances (its own score, rounding, updates), in distances: measured at 384
# dimensions (1.3 us a row where a distance takes 3.9 ns).
ROW_DISTANCES = 300
# The same on a card, in readings of its float16 values: the sums of a million rows of 1,024 dimensions took an H200
# 1.7 ms.
ROW_READINGS = 4
# Fixed time of a pass over a few rows, of a step of the greedy search for seeds, and of the small product of one
# coarse cluster with a chunk's rows in it (measured on a CPU; an H200 took 1.6 ms for the first, and the others stand
# for starting some tens of kernels).
PASS_SECONDS, STEP_SECONDS, SMALL_PRODUCT_SECONDS = 1.5e-3, 2.5e-4, 1.5e-4
# What a proposal of a seed costs while the card waits: the seeds of 5,000,000 x 1,024 rows with k = 50,000 took an H200
# 9.9 s, all but 1 s of it for 62,000 proposals, when the processor thinned them alone.
CARD_PROPOSAL_SECONDS = 1.4e-4


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
    memory_rate: float | None = None
    """Bytes that a card reads from its own memory per second; None for a processor."""
    link_rate: float | None = None
    """Bytes per second from the memory of the host to a card; None for a processor."""

    def row_seconds(self, dimension: int) -> float:
        """What a pass spends on a row besides its distances."""
        if self.memory_rate is None:
            return ROW_DISTANCES * 2 * dimension / self.search_flops
        return ROW_READINGS * 2 * dimension / self.memory_rate

    @property
    def proposal_seconds(self) -> float:
        """What a proposal of a seed costs besides its distances."""
        return 0.0 if self.memory_rate is None else CARD_PROPOSAL_SECONDS


def card_rate(
    name: str = DEFAULT_CARD,
    dimension: int = 1024,
    *,
    tflops: float | None = None,
    utilisation: float | None = None,
) -> DeviceRate:
    """The rate of a card that this machine does not have.

    Args:
        name: one of `CARDS`.
        dimension: length of a row.
        tflops: peak of its products in bfloat16, in 1e12 operations per second; None takes the data sheet's.
        utilisation: share of the peak that a fit reaches, above 0 and at most 1; None takes what was measured on the
            card, else `ASSUMED_UTILISATION`.

    Raises:
        ValueError: if a value is unknown or out of range.
    """
    if name not in CARDS:
        raise ValueError(f"card is '{name}': choose {', '.join(CARDS)}")
    if tflops is not None and not tflops > 0:
        raise ValueError(f"tflops is {tflops}, but must be above 0")
    if utilisation is not None and not 0 < utilisation <= 1:
        raise ValueError(f"utilisation is {utilisation}, but must be above 0 and at most 1")
    card = CARDS[name]
    measured = card.measured_flops(dimension)
    if tflops is None and utilisation is None and measured is not None:
        flops, source = (
            measured,
            f"exact passes measured on one {card.title}, the slowest near {dimension:,} dimensions",
        )
    else:
        share = ASSUMED_UTILISATION if utilisation is None else utilisation
        peak, sheet = (
            (card.peak_flops / 1e12, f" of the data sheet of the {card.title}")
            if tflops is None
            else (tflops, "")
        )
        flops = peak * 1e12 * share
        assumed = "assumed: the least that an H200 was measured at" if utilisation is None else "as given"
        source = f"{peak:g} TFLOP/s peak{sheet} x {share:g} utilisation, {assumed}"
    return DeviceRate(flops, flops, source=source, memory_rate=card.memory_rate, link_rate=card.link_rate)


@dataclass(frozen=True, slots=True)
class Probe:
    """How much is searched to measure a device."""

    n_rows: int
    n_centroids: int

    @classmethod
    def of(cls, dimension: int, device: torch.device) -> Probe:
        """What takes a processor tens of milliseconds, and a card about one, in at most half a gigabyte of rows."""
        if device.type == "cpu":
            return cls(4096, 1024)
        return cls(min(2**18, 2**29 // (4 * dimension)), 4096)


def measure_rate(
    dimension: int,
    device: str = "cpu",
    *,
    clock: Callable[[], float] = time.perf_counter,
    probe: Probe | None = None,
) -> DeviceRate:
    """The rate of this machine, on rows around random centroids; takes 0.2 to 0.6 s on two cores.

    Args:
        dimension: length of a row.
        device: torch device.
        clock: seconds; with one torch thread `time.process_time` leaves out other processes.
        probe: None takes what suits the device.
    """
    where = torch.device(device)
    on_cpu = where.type == "cpu"
    probe = probe or Probe.of(dimension, where)
    generator = torch.Generator(where).manual_seed(0)
    centroids = _unit(torch.randn(probe.n_centroids, dimension, generator=generator, device=where))
    noise = _unit(torch.randn(probe.n_rows, dimension, generator=generator, device=where))
    block = _unit(centroids[torch.arange(probe.n_rows, device=where) % probe.n_centroids] + _NOISE * noise)
    flops = 2 * dimension * probe.n_rows * probe.n_centroids

    def assign_all() -> None:
        if on_cpu:
            assign(block.numpy(), centroids.numpy(), metric="cosine")
        else:
            _assign(block, centroids)

    assigning = _seconds(assign_all, clock, where)
    searching = _seconds(lambda: _search(block, centroids), clock, where)
    threads = f", {torch.get_num_threads()} threads" if on_cpu else ""
    return DeviceRate(
        flops / searching,
        flops / assigning,
        torch.get_num_threads() if on_cpu else 1,
        f"measured just now on '{device}'{threads}",
        None if on_cpu else 2 * block.nbytes / _seconds(block.clone, clock, where),
        None if on_cpu else _link_rate(where, clock),
    )


def _assign(block: torch.Tensor, centroids: torch.Tensor) -> None:
    """Name a centroid for each of the rows, which stay on the card."""
    search = nearest_centroids(Codebook.of(centroids), len(block))
    for start in range(0, len(block), search.tile_rows()):
        assign_rows(search, SearchedRows.of(block[start : start + search.tile_rows()]), "cosine")


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


def _link_rate(device: torch.device, clock: Callable[[], float]) -> float:
    """Bytes per second that are copied from the memory of the host to a card."""
    pinned = torch.empty(2**26, dtype=torch.uint8).pin_memory(device)
    return pinned.nbytes / _seconds(lambda: pinned.to(device), clock, device)


def _seconds(work: Callable[[], object], clock: Callable[[], float], device: torch.device) -> float:
    """The shortest of a few runs: what disturbs one only ever makes it longer."""

    def finish() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    finish()
    runs = []
    for _ in range(_REPEATS):
        began = clock()
        finish()
        runs.append(clock() - began)
    return min(runs)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
