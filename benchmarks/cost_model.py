"""The planner against measured fits: distances, seconds and peak memory at three sizes.

.venv/bin/python benchmarks/cost_model.py

Each size runs twice in a process of its own: once for time and memory, once to count the distances of every matrix
product. Time is processor time on one thread, so other work on the machine matters little. The paper's pool
follows. `--study` measures the laws of `algorithms/costs/kmeans_cost.py` instead: iterations, and the share of the
centroids that they search.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from machine import describe_machine
from pools_of_vectors import POOLS
from torch.utils._python_dispatch import TorchDispatchMode

from curation_assets.algorithms import LevelSpec
from curation_assets.algorithms.costs.cards import CARDS
from curation_assets.algorithms.costs.device_rate import DeviceRate, card_rate, measure_rate
from curation_assets.algorithms.costs.duration import Hardware, stage_time
from curation_assets.algorithms.costs.kmeans_cost import lloyd_iterations, moved_share
from curation_assets.algorithms.costs.model import StageCost, Workload, plan_cost
from curation_assets.algorithms.costs.planning import PROCESS_BYTES, bucket_bytes, fit_memory
from curation_assets.algorithms.hierarchy import LevelFitter, centroid_inputs
from curation_assets.algorithms.kmeans.fit import fit_kmeans
from curation_assets.algorithms.kmeans.inputs import FitInputs
from curation_assets.algorithms.kmeans.tiles import FitMemory
from curation_assets.algorithms.preprocessing import PreparedRows, fit_preprocessing
from curation_assets.algorithms.rows import ArrayRows, Rows, read_chunks
from curation_assets.algorithms.search.cuda.memory import FREE_SHARE
from curation_assets.algorithms.splitting import split_level
from curation_assets.algorithms.tree import Level

MEMORY_BUDGET = 4 * 10**9
SIZES: dict[int, list[LevelSpec]] = {
    20_000: [LevelSpec(n_clusters=k, resampling_steps=10) for k in (1000, 200, 40)],
    60_000: [LevelSpec(n_clusters=k, resampling_steps=3) for k in (2000, 300, 50)],
    180_000: [
        LevelSpec(n_clusters=10_000, n_coarse_clusters=500),
        LevelSpec(n_clusters=1000, resampling_steps=3),
    ],
}
# Public records of the authors' run (github.com/facebookresearch/ssl-data-curation, issue 4): hours x A100s by level,
# in float64 (its configuration for web images). The last is given as "less than".
PAPER_GPU_HOURS = {1: 8 * 128, 2: 15 * 16, 3: 1.5 * 8, 4: 1 * 8}
PAPER_LEVELS = [
    LevelSpec(n_clusters=10**7, n_coarse_clusters=10**5),
    *(LevelSpec(n_clusters=k) for k in (500_000, 50_000, 10_000)),
]
A100_FLOAT64_TFLOPS = 19.5


class CountedDistances(TorchDispatchMode):
    """Counts rows times columns of every matrix product inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.mm.default:
            self.count += args[0].shape[0] * args[1].shape[1]
        elif func is torch.ops.aten.addmm.default:
            self.count += args[1].shape[0] * args[2].shape[1]
        return func(*args, **(kwargs or {}))


@dataclass
class Measured:
    """Seconds and distances of each stage, named as the planner names them."""

    seconds: dict[tuple[int, str], float] = field(default_factory=dict)
    distances: dict[tuple[int, str], int] = field(default_factory=dict)
    counter: CountedDistances | None = None

    @contextmanager
    def stage(self, level: int, name: str) -> Iterator[None]:
        """Add the seconds and distances of the block to a stage."""
        before, began = self.counter.count if self.counter else 0, time.process_time()
        yield
        key = level, name
        self.seconds[key] = self.seconds.get(key, 0.0) + time.process_time() - began
        counted = self.counter.count - before if self.counter else 0
        self.distances[key] = self.distances.get(key, 0) + counted


def curate(x: np.ndarray, levels: list[LevelSpec], measured: Measured) -> None:
    """The fits and assignments of a pool, stage by stage as the assets run them."""
    rows = ArrayRows(x)
    preprocessing = fit_preprocessing(rows, metric="cosine", centring=False)
    pool = PreparedRows(rows, preprocessing)
    inputs: Rows = pool
    for number, spec in enumerate(levels, start=1):
        memory = fit_memory(MEMORY_BUDGET, inputs.n_rows, inputs.dimension, spec)
        fitter = LevelFitter(level=number, spec=spec, metric="cosine", seed=0, memory=memory)
        with measured.stage(number, "initial"):
            held = None if spec.n_coarse_clusters else fitter.inputs(inputs)
            level = split(fitter, inputs) if held is None else fitter.fit_initial(held)
        for step in range(1, spec.steps_at(number) + 1):
            subset = fitter.resample(level, step)
            last_of_pool = number == 1 and step == spec.steps_at(number)
            with measured.stage(number, "resampled"):
                level = (fitter.fit_subset if last_of_pool else fitter.refit)(held, subset, step)
        with measured.stage(number, "assign"):
            if number == 1:
                assign_all(pool, level)
        inputs = centroid_inputs(level.centroids, "cosine")


def split(fitter: LevelFitter, inputs: Rows) -> Level:
    """A split level that releases its rows between the coarse fit and the splits, as the assets do."""
    coarse = fitter.fit_coarse(inputs)
    streamed = FitInputs.in_process(inputs, "cosine", memory=FitMemory(resident_bytes=0))
    size = bucket_bytes(fitter.memory)
    return split_level(
        streamed, coarse, fitter.spec.per_coarse_cluster, fitter.fit_cluster, bucket_bytes=size
    )


def assign_all(pool: Rows, level: Level) -> None:
    """Assign every row to its level-1 cluster."""
    assigner = level.assigner(metric="cosine")
    for _, block in read_chunks(pool):
        assigner.assign(block)


def grouped(stage: StageCost) -> tuple[int, str]:
    """The measured stage that a planned one is part of."""
    names = {"seeds": "initial", "Lloyd": "initial", "splits": "initial", "runs": "initial"}
    names |= {"resampled fits": "resampled", "re-assign": "resampled", "assign": "assign"}
    return stage.level, names[stage.stage]


def run_one(pool: str, n: int, dimension: int) -> None:
    """One size: print a line per stage and a total."""
    torch.set_num_threads(1)
    levels = SIZES[n]
    x = POOLS[pool](n, dimension).astype(np.float16)
    rates = [measure_rate(dimension, clock=time.process_time)]
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    measured = Measured()
    curate(x, levels, measured)
    peak = memory("VmHWM")
    rates.append(measure_rate(dimension, clock=time.process_time))
    counted = Measured(counter=CountedDistances())
    with counted.counter:
        curate(x, levels, counted)
    rate = DeviceRate(
        math.sqrt(rates[0].search_flops * rates[1].search_flops),
        math.sqrt(rates[0].assign_flops * rates[1].assign_flops),
        rates[0].small_fits_at_once,
    )
    workload = Workload(n_rows=n, dimension=dimension, levels=levels, memory_budget=MEMORY_BUDGET)
    plan, hardware = plan_cost(workload), Hardware(rate=rate)
    ks = " / ".join(
        f"{s.n_coarse_clusters} x {s.per_coarse_cluster}" if s.n_coarse_clusters else str(s.n_clusters)
        for s in levels
    )
    print(f"\n{pool}: {n:,} x {dimension}, k = {ks}; load {os.getloadavg()[0]:.1f}; rate ", end="")
    print(f"{rate.search_flops / 1e9:.0f} GFLOP/s searching, {rate.assign_flops / 1e9:.0f} assigning")
    print(f"{'':22}{'seconds: plan':>14}{'fit':>8}{'ratio':>7}{'distances: plan':>18}{'fit':>10}{'ratio':>7}")
    planned: dict[tuple[int, str], list[float]] = {}
    for stage in plan.stages:
        sums = planned.setdefault(grouped(stage), [0.0, 0])
        if grouped(stage) == (stage.level, "assign") and stage.level > 1:
            continue
        sums[0] += stage_time(stage, dimension, hardware).compute
        sums[1] += stage.distances
    for key in [*planned, "total"]:
        keys = list(planned) if key == "total" else [key]
        seconds, distances = (sum(planned[part][i] for part in keys) for i in (0, 1))
        if not distances:
            continue
        real = sum(measured.seconds.get(part, 0) for part in keys)
        pairs = sum(counted.distances.get(part, 0) for part in keys)
        label = key if key == "total" else f"level {key[0]} {key[1]}"
        print(
            f"{label:22}{seconds:14.2f}{real:8.2f}{seconds / real:7.2f}{distances:18.3g}{pairs:10.3g}"
            f"{distances / pairs:7.2f}"
        )
    # Here the embeddings are in memory; the graph reads them from disk, but has Dagster and polars loaded.
    print(
        f"memory: plan {plan.worker_bytes / 1e6:,.0f} MB, of which the process {PROCESS_BYTES / 1e6:,.0f}; fit "
        f"{(peak - x.nbytes) / 1e6:,.0f} MB, of which before it {(before - x.nbytes) / 1e6:,.0f}"
    )


def memory(kind: str) -> int:
    """A figure of /proc/self/status in bytes."""
    return 1024 * int(Path("/proc/self/status").read_text().split(f"{kind}:")[1].split()[0])


def paper() -> None:
    """The authors' pool, by the planner and by their record."""
    workload = Workload(
        n_rows=743 * 10**6,
        dimension=1024,
        levels=PAPER_LEVELS,
        workers=32,
        memory_budget=80 * 10**9,
        device_memory=int(FREE_SHARE * CARDS["a100"].memory_bytes),
    )
    expected, most = plan_cost(workload), plan_cost(workload, at_most=True)
    bfloat16 = Hardware(rate=card_rate(), devices=32, workers=32)
    float64 = replace(bfloat16, rate=card_rate(tflops=A100_FLOAT64_TFLOPS, utilisation=1.0))
    print("\nA100-hours of computing for the paper's pool, 743 M x 1,024, by level")
    print(f"{'':8}{'planned':>9}{'at most':>9}{'at most, float64 at its peak':>30}{'authors':>9}")
    totals = np.zeros(4)
    for level, authors in PAPER_GPU_HOURS.items():
        hours = [
            sum(
                stage_time(stage, 1024, hardware).compute * hardware.devices / 3600
                for stage in plan.stages
                if stage.level == level
            )
            for plan, hardware in ((expected, bfloat16), (most, bfloat16), (most, float64))
        ]
        totals += [*hours, authors]
        print(f"level {level} {hours[0]:9.2f}{hours[1]:9.2f}{hours[2]:30.1f}{authors:9.0f}")
    print(f"total   {totals[0]:9.2f}{totals[1]:9.2f}{totals[2]:30.1f}{totals[3]:9.0f}")


def study(dimension: int) -> None:
    """Iterations and searched shares of fits, against the laws of the cost model."""
    print(f"{'':34}{'iterations':>11}{'law':>6}{'share searched':>16}{'law':>6}")
    for pool in ("clustered", "uneven"):
        x = POOLS[pool](100_000, dimension)
        for n, k in (
            (20_000, 2000),
            (60_000, 4000),
            (20_000, 400),
            (60_000, 600),
            (20_000, 100),
            (100_000, 200),
        ):
            rows = ArrayRows(x[:n])
            prepared = PreparedRows(rows, fit_preprocessing(rows, metric="cosine", centring=False))
            seen: list[int] = []
            with CountedDistances() as counter:
                fit = fit_kmeans(
                    prepared,
                    k,
                    metric="cosine",
                    rng=np.random.default_rng(0),
                    n_local_trials=1,
                    on_iteration=lambda _, seen=seen, counter=counter: seen.append(counter.count),
                )
            iterations = len(fit.inertias)
            # The first iteration searches everything; the distances of the seeds were counted before it.
            share = (seen[-1] - seen[0] + n * k) / (n * k * iterations)
            print(
                f"{pool:10}{n:10,} rows{k:6,} clusters{iterations:10}{lloyd_iterations(n, k, 50):6}{share:16.2f}"
                f"{moved_share(n, k):6.2f}",
                flush=True,
            )


def main() -> None:  # noqa: D103 - see the module
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--pools", nargs="*", default=["clustered"], choices=list(POOLS))
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--study", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.study:
        study(args.dimension)
    elif args.one:
        run_one(args.pools[0], args.sizes[0], args.dimension)
    else:
        for pool in args.pools:
            for n in args.sizes:
                command = [sys.executable, __file__, "--one", "--pools", pool, "--sizes", str(n)]
                subprocess.run([*command, "--dimension", str(args.dimension)], check=True)
        paper()
        print(describe_machine("torch", "numpy"))


if __name__ == "__main__":
    main()
