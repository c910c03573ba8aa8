"""The local engine: everything runs in this process, one item after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from curation_assets.engines.base import Item, Result

if TYPE_CHECKING:
    from curation_assets.algorithms.kmeans.worker_pool import WorkerPool


class LocalEngine:
    """See `Engine`; only the algorithms' own threads run in parallel."""

    is_local = True
    n_workers = 1

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[int, Result]]:
        """See `Engine.map`; results come in the order of the items."""
        for number, item in enumerate(items):
            yield number, function(item)

    @contextmanager
    def hold(self, build: Callable[[int], Any], n_workers: int) -> Iterator[WorkerPool]:
        """See `Engine.hold`.

        Raises:
            ValueError: if more than one worker is asked for.
        """
        if n_workers != 1:
            raise ValueError(f"n_workers is {n_workers}, but the local engine has only one process: use 1")
        from curation_assets.algorithms.kmeans.worker_pool import InProcessPool

        yield InProcessPool(build(0))

    def describe(self) -> dict[str, Any]:
        """See `Engine.describe`."""
        return {"kind": "local", "workers": 1}
