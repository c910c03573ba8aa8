"""From the options of `plan` to a plan with its prices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from curation_assets.algorithms.settings import DEFAULT_MEMORY_BUDGET
from curation_assets.errors import PoolSpecError
from curation_assets.graph.levels import level_specs
from curation_assets.project import embedded_size, find_spec, open_home

if TYPE_CHECKING:
    from curation_assets.algorithms.costs.device_rate import DeviceRate
    from curation_assets.algorithms.costs.duration import Hardware
    from curation_assets.algorithms.costs.model import Plan, Workload
    from curation_assets.algorithms.hierarchy import LevelSpec

_DEFAULT_LEVELS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Options of the command; None if not given."""

    pool: str | None = None
    rows: int | None = None
    dimension: int | None = None
    clusters: tuple[int, ...] | None = None
    coarse: int | None = None
    steps: int | None = None
    iterations: int | None = None
    fit_rows: int | None = None
    gpu: str | None = None
    gpus: int | None = None
    tflops: float | None = None
    utilisation: float | None = None
    workers: int | None = None
    memory: int | None = None
    device_memory: int | None = None
    disk_gbps: float = 1.0
    network_gbps: float = 3.0
    embed_rate: float | None = None
    as_json: bool = False

    @property
    def plans_cards(self) -> bool:
        """Whether the plan is for cards that are named, instead of for this machine."""
        return self.gpu is not None or self.gpus is not None


@dataclass(frozen=True, slots=True)
class PricedPlan:
    """A plan, the hardware it runs on, and the upper bound without the savings that are expected."""

    title: str
    workload: Workload
    hardware: Hardware
    expected: Plan
    most: Plan
    embed_rate: float | None
    n_levels: int
    """Levels that were asked for; those above the workload's are dropped."""
    card: str = ""
    """Title of the card; empty for processors."""

    @property
    def embedding_seconds(self) -> float:
        """Of all devices in parallel; 0 if --embed-rate is not given."""
        return self.workload.n_rows / (self.embed_rate * self.hardware.devices) if self.embed_rate else 0.0

    def seconds(self, plan: Plan) -> float:
        """Of embedding and all stages, one after another."""
        from curation_assets.algorithms.costs.duration import stage_time

        times = (stage_time(stage, self.workload.dimension, self.hardware) for stage in plan.stages)
        return self.embedding_seconds + sum(time.total for time in times)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be planned, by a pool or by options."""

    title: str
    levels: list[LevelSpec]
    n_levels: int
    memory_budget: int | None
    """None if only the default is known."""
    fit_device: str = "auto"
    device_memory: int | None = None
    """None takes what a card has free."""
    is_centred: bool = False


@dataclass(frozen=True, slots=True)
class _Devices:
    """What computes."""

    rate: DeviceRate
    memory: int | None = None
    """Of a card, in bytes that fits may take."""
    card: str = ""
    host_memory: int | None = None
    """Bytes of a worker that go with a card; None leaves it to the pool."""


def priced(options: PlanOptions) -> PricedPlan:
    """The plan that the options ask for.

    Raises:
        PoolSpecError: if options are missing, contradict each other or are out of range.
        ValueError: if a value is out of range.
    """
    from curation_assets.algorithms.costs.duration import Hardware
    from curation_assets.algorithms.costs.model import Workload, plan_cost

    if not options.plans_cards and (options.tflops or options.utilisation):
        raise PoolSpecError("--tflops and --utilisation describe GPUs: also pass --gpus N")
    options, asked = _of_pool(options) if options.pool else _of_options(options)
    device_memory = options.device_memory or asked.device_memory
    if options.plans_cards:
        devices = _named_card(options, device_memory)
    else:
        devices = _this_machine(options, asked.fit_device, device_memory)
    n_cards = (options.gpus or 1) if options.plans_cards else None
    workers = options.workers or n_cards or 1
    workload = Workload(
        n_rows=options.rows or 0,
        dimension=options.dimension or 0,
        levels=asked.levels,
        fit_rows=options.fit_rows,
        workers=workers,
        memory_budget=options.memory or devices.host_memory or asked.memory_budget or DEFAULT_MEMORY_BUDGET,
        device_memory=devices.memory,
        is_centred=asked.is_centred,
    )
    hardware = Hardware(
        rate=devices.rate,
        devices=n_cards or workers,
        workers=workers,
        disk_bytes_per_second=options.disk_gbps * 1e9,
        network_bytes_per_second=options.network_gbps * 1e9,
    )
    expected, most = plan_cost(workload), plan_cost(workload, at_most=True)
    return PricedPlan(
        asked.title, workload, hardware, expected, most, options.embed_rate, asked.n_levels, devices.card
    )


def _of_pool(options: PlanOptions) -> tuple[PlanOptions, _Asked]:
    """Options that have rows and dimension, and what a pool asks for."""
    given = {
        "--clusters": options.clusters,
        "--coarse": options.coarse,
        "--steps": options.steps,
        "--iterations": options.iterations,
    }
    if clash := [name for name, value in given.items() if value is not None]:
        raise PoolSpecError(
            f"{clash[0]} cannot be used with --pool {options.pool}, because the pool's YAML sets the levels: leave out "
            f"one of the two"
        )
    home = open_home()
    spec = find_spec(home, options.pool or "")
    if options.fit_rows is not None:
        spec = spec.model_copy(update={"fit_rows": options.fit_rows})
    rows, dimension = options.rows, options.dimension
    if rows is None or dimension is None:
        stored = embedded_size(home.storage(spec.name))
        if stored is None:
            missing = " and ".join(
                f"{name} N" for name, value in (("--rows", rows), ("--dim", dimension)) if value is None
            )
            raise PoolSpecError(
                f"pool '{spec.name}' is not embedded yet, so its size is unknown: pass {missing}"
            )
        rows, dimension = rows or stored[0], dimension or stored[1]
    options = replace(options, rows=rows, dimension=dimension, fit_rows=spec.fit_rows)
    return options, _Asked(
        spec.name,
        level_specs(spec, rows),
        spec.n_levels,
        spec.memory_budget,
        spec.fit_device,
        None if spec.device_memory == "auto" else spec.device_memory,
        spec.preprocessing.centring,
    )


def _of_options(options: PlanOptions) -> tuple[PlanOptions, _Asked]:
    """The same without a pool."""
    from curation_assets.algorithms.costs.planning import plan_levels
    from curation_assets.algorithms.hierarchy import LevelSpec

    if options.rows is None or options.dimension is None:
        raise PoolSpecError("pass --pool NAME, or --rows and --dim, for example --rows 743e6 --dim 1024")
    n_fitted = min(options.fit_rows or options.rows, options.rows)
    clusters = options.clusters or [level.n_clusters for level in plan_levels(n_fitted, _DEFAULT_LEVELS)]
    if any(above >= below for below, above in pairwise(clusters)):
        raise PoolSpecError(
            f"--clusters: expected fewer clusters on every level, got {','.join(map(str, clusters))}"
        )
    levels = [
        LevelSpec(
            n_clusters=k,
            n_coarse_clusters=options.coarse if level == 1 else None,
            # A split level is not resampled.
            resampling_steps=None if options.coarse and level == 1 else options.steps,
            max_iterations=options.iterations or 50,
        )
        for level, k in enumerate(clusters, start=1)
    ]
    n_levels = len(levels) if options.clusters else _DEFAULT_LEVELS
    return options, _Asked("plan", levels, n_levels, None)


def _named_card(options: PlanOptions, device_memory: int | None) -> _Devices:
    from curation_assets.algorithms.costs.cards import CARDS, DEFAULT_CARD
    from curation_assets.algorithms.costs.device_rate import card_rate
    from curation_assets.algorithms.search.cuda.memory import FREE_SHARE

    name = options.gpu or DEFAULT_CARD
    rate = card_rate(name, options.dimension or 1, tflops=options.tflops, utilisation=options.utilisation)
    card = CARDS[name]
    memory = device_memory or int(FREE_SHARE * card.memory_bytes)
    return _Devices(rate, memory, card.title, card.memory_bytes)


def _this_machine(options: PlanOptions, fit_device: str, device_memory: int | None) -> _Devices:
    from curation_assets.algorithms.costs.device_rate import measure_rate
    from curation_assets.algorithms.search.cuda.memory import DeviceMemory
    from curation_assets.pools.device import resolve_device

    device = resolve_device(fit_device, "fit_device")
    rate, memory = measure_rate(options.dimension or 1, device), DeviceMemory(device_memory).room(device)
    if memory is None:
        return _Devices(rate)
    import torch

    return _Devices(rate, memory, torch.cuda.get_device_name(device))
