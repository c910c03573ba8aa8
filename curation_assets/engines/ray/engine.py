"""RayEngine: tasks and workers on a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, Any

from curation_assets.engines.base import Item, Result
from curation_assets.engines.ray.pool import ray_pool
from curation_assets.engines.ray.session import connect, require_ray
from curation_assets.pools import EngineSettings

if TYPE_CHECKING:
    from curation_assets.algorithms.kmeans.worker_pool import WorkerPool


class RayEngine:
    """See `Engine`. Imports Ray, and starts or joins a cluster, when there is work to run.

    Args:
        settings: address, number of workers, and the resources that Ray reserves for each.
        memory_budget: largest peak of a worker, in bytes; Ray places a worker where this much is free.

    Raises:
        PoolSpecError: if Ray is not installed.
    """

    is_local = False

    def __init__(self, settings: EngineSettings, memory_budget: int) -> None:
        require_ray()
        self._settings, self._memory_budget = settings, memory_budget
        self._peak_bytes = 0

    @cached_property
    def _ray(self) -> ModuleType:
        return connect(self._settings.address)

    @cached_property
    def n_workers(self) -> int:
        """See `Engine.n_workers`."""
        if self._settings.workers != "auto":
            return self._settings.workers
        total = self._ray.cluster_resources()
        places = [total.get("CPU", 1.0) // self._settings.cpus_per_worker]
        if self._settings.gpus_per_worker:
            places.append(total.get("GPU", 0.0) // self._settings.gpus_per_worker)
        if "memory" in total:
            places.append(total["memory"] // self._memory_budget)
        return max(1, int(min(places)))

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[int, Result]]:
        """See `Engine.map`."""
        ray, waiting = self._ray, enumerate(items)
        run = ray.remote(max_retries=-1, scheduling_strategy="SPREAD", **self._options())(_run)
        shared = ray.put(function)
        under_way: dict[Any, int] = {}
        try:
            while True:
                room = self.n_workers - len(under_way)
                under_way.update({run.remote(shared, item): number for number, item in islice(waiting, room)})
                if not under_way:
                    return
                done, _ = ray.wait(list(under_way))
                for reference in done:
                    yield under_way.pop(reference), ray.get(reference)
        finally:
            for reference in under_way:
                ray.cancel(reference)

    @contextmanager
    def hold(self, build: Callable[[int], Any], n_workers: int) -> Iterator[WorkerPool]:
        """See `Engine.hold`."""
        with ray_pool(self._ray, build, n_workers, self._options()) as pool:
            yield pool
            self._peak_bytes = max(self._peak_bytes, pool.peak_bytes())

    def describe(self) -> dict[str, Any]:
        """See `Engine.describe`."""
        return {"kind": "ray", "workers": self.n_workers, "peak_worker_bytes": self._peak_bytes}

    def _options(self) -> dict[str, Any]:
        settings, passed_on = self._settings, _passed_on()
        return {
            "num_cpus": settings.cpus_per_worker,
            "memory": self._memory_budget,
            **({"num_gpus": settings.gpus_per_worker} if settings.gpus_per_worker else {}),
            **({"runtime_env": {"env_vars": passed_on}} if passed_on else {}),
        }


def _run(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)


def _passed_on() -> dict[str, str]:
    """Variables of this process that workers need and that Ray does not pass on by itself."""
    names = ("CUBLAS_WORKSPACE_CONFIG", "HF_HUB_OFFLINE", "HF_HOME", "FSSPEC_CONFIG_DIR")
    return {name: os.environ[name] for name in names if name in os.environ}
