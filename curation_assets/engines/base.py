"""The interface of an engine: it runs independent items, and workers that hold rows across many calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from curation_assets.algorithms.kmeans.worker_pool import WorkerPool


Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """A place to run work. Functions, items, workers and results must be serializable."""

    @property
    def is_local(self) -> bool:
        """Whether everything runs in this process."""

    @property
    def n_workers(self) -> int:
        """Processes that work at the same time."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[int, Result]]:
        """Call a function for every item, on any free worker.

        If a process or machine is lost, its items run again, so the function must be safe to run twice.

        Args:
            function: of one item.
            items: read lazily, a few ahead of the results.

        Yields:
            (number of the item, its result), in order of completion.
        """

    def hold(self, build: Callable[[int], Any], n_workers: int) -> AbstractContextManager[WorkerPool]:
        """Workers that exist for the block.

        Args:
            build: makes the worker with a given number, in the process that will hold it.
            n_workers: number of workers.
        """

    def describe(self) -> dict[str, Any]:
        """Facts about the engine to show beside a result: kind, workers, and peak memory of the last workers."""
