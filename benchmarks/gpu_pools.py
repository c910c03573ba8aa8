"""What the benchmarks of cards share: rows made on the card, seconds, and tables for docs/benchmarks.md."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows
from curation_assets.algorithms.search.cuda.memory import DeviceMemory
from curation_assets.algorithms.settings import Metric

ROWS_AT_ONCE = 16_384
POOL_NAMES = ("clustered", "tight", "uneven")


def pool(name: str, n: int, dimension: int, device: str = "cuda") -> torch.Tensor:
    """The pools of `pools_of_vectors`, made on a device and stored as float16 (n, d)."""
    generator = torch.Generator(device).manual_seed(0)
    n_concepts, noise = {"clustered": (300, 0.8), "tight": (1000, 0.4), "uneven": (1000, 0.7)}[name]
    spectrum = torch.ones(dimension, device=device)
    if name == "uneven":
        spectrum = (1 + torch.arange(dimension, device=device)) ** -0.7
    concepts = torch.randn(n_concepts, dimension, device=device, generator=generator) * spectrum
    shares = 1 / torch.arange(1, n_concepts + 1, device=device) ** (0.8 if name == "uneven" else 1.0)
    chosen = torch.multinomial(shares, n, replacement=True, generator=generator)
    rows = torch.empty(n, dimension, dtype=torch.float16, device=device)
    for start in range(0, n, ROWS_AT_ONCE):
        block = concepts[chosen[start : start + ROWS_AT_ONCE]]
        block += noise * torch.randn(block.shape, device=device, generator=generator) * spectrum
        rows[start : start + ROWS_AT_ONCE] = torch.nn.functional.normalize(block, dim=1)
    return rows


def stored_pool(name: str, n: int, dimension: int, device: str, metric: Metric) -> PreparedRows:
    """The same in the memory of the host, prepared as a pool's embeddings are."""
    rows = ArrayRows(pool(name, n, dimension, device).cpu().numpy())
    if device != "cpu":
        torch.cuda.empty_cache()
    return PreparedRows(rows, fit_preprocessing(rows, metric=metric, centring=False))


def finish(device: str) -> float:
    """The time in seconds when all work of a device is done."""
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds(function: Callable[[], object], repeats: int = 3, device: str = "cuda") -> float:
    """The median of some runs, after one that does not count."""
    function()
    runs = []
    for _ in range(repeats):
        began = finish(device)
        function()
        runs.append(finish(device) - began)
    return statistics.median(runs)


class Peak:
    """Most memory since this was made: of the card, and of the process."""

    def __init__(self, device: str) -> None:
        self._device = device
        if device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)

    def __str__(self) -> str:
        host = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB of the process"
        if self._device == "cpu":
            return host
        return f"{torch.cuda.max_memory_allocated(self._device) / 2**30:.1f} GiB of the card, {host}"


def room_on(device: str) -> int:
    """Bytes of rows that a fit may keep on a device: a share of what is free on a card."""
    return 2**31 if device == "cpu" else DeviceMemory().room(device)


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def spread(n: int, k: int) -> np.ndarray:
    """Numbers of k of n rows, evenly spread, int64 (k,)."""
    return np.linspace(0, n - 1, k).astype(np.int64)
