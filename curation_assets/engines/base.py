"""What an engine does for the steps: independent items, and workers that hold rows over many calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from curation_assets.algorithms.kmeans.worker_pool import WorkerPool


Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """A place to run work. Functions, items, workers and results must be able to travel between processes."""

    @property
    def is_local(self) -> bool:
        """Whether everything runs in this process, with its threads."""

    @property
    def n_workers(self) -> int:
        """Processes that work at the same time."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[int, Result]]:
        """Call a function for every item, wherever there is room.

        An item whose process or machine is lost is run again, so a function must be able to run twice.

        Args:
            function: of one item.
            items: taken one by one, a few ahead of the results.

        Yields:
            (number of the item, its result), as they come.
        """

    def hold(self, build: Callable[[int], Any], n_workers: int) -> AbstractContextManager[WorkerPool]:
        """Workers that stay for the block.

        Args:
            build: makes the worker of a number, in the process where it is to live.
            n_workers: how many.
        """

    def describe(self) -> dict[str, Any]:
        """What to say about the engine beside a result: kind, workers, and what the last workers took at most."""
