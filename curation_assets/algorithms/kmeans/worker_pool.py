"""Workers that share the rows of a fit, and how the fit talks to them.

A fit is written once against `WorkerPool`. In one process the pool is a single worker whose methods are called
directly; an engine spreads the same workers over the processes and machines of a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[tuple[int, Any]]]
"""Calls a function for every item, on any machine, and yields (number of the item, result) as they come."""
Arguments = Sequence[tuple[Any, ...]]
"""Of one call, the arguments for each worker."""


@dataclass(frozen=True, slots=True)
class Call:
    """A method of every worker with the arguments of each."""

    method: str
    arguments: Arguments


class WorkerPool(Protocol):
    """Workers of one kind; worker i holds the i-th part of the rows.

    A lost worker is rebuilt and brought back to its state by `history`, so methods may depend on earlier ones.
    """

    @property
    def n_workers(self) -> int:
        """Workers of the pool."""

    def ask(self, method: str, arguments: Arguments) -> list[Any]:
        """Call a method that leaves the workers as they are; returns what each gives."""

    def change(self, method: str, arguments: Arguments, history: Sequence[Call]) -> list[Any]:
        """Call a method that changes the workers.

        Args:
            method: of the worker.
            arguments: for each worker.
            history: calls that bring a new worker to the state after this one.
        """

    def change_and_merge(
        self,
        method: str,
        arguments: Arguments,
        history: Sequence[Call],
        merge: Callable[[Sequence[Any]], Any],
        merged_bytes: int,
    ) -> tuple[list[Any], list[Any]]:
        """Call a method that changes the workers and returns (figures, pieces), and merge the pieces.

        Args:
            method: of the worker; its last argument, which the pool adds, is the number of pieces to cut its
                result into.
            arguments: for each worker, without the last.
            history: see `change`.
            merge: piece i of every worker -> one.
            merged_bytes: of all pieces of a worker together, to choose where they are merged.

        Returns:
            The figures of each worker, and the merged pieces in order.
        """


class InProcessPool:
    """A pool of one worker, called directly."""

    n_workers = 1

    def __init__(self, worker: Any) -> None:
        self.worker = worker

    def ask(self, method: str, arguments: Arguments) -> list[Any]:
        """See `WorkerPool.ask`."""
        return [getattr(self.worker, method)(*arguments[0])]

    def change(self, method: str, arguments: Arguments, history: Sequence[Call]) -> list[Any]:
        """See `WorkerPool.change`; the worker cannot be lost without the fit."""
        return self.ask(method, arguments)

    def change_and_merge(
        self,
        method: str,
        arguments: Arguments,
        history: Sequence[Call],
        merge: Callable[[Sequence[Any]], Any],
        merged_bytes: int,
    ) -> tuple[list[Any], list[Any]]:
        """See `WorkerPool.change_and_merge`."""
        ((figures, pieces),) = self.ask(method, [(*arguments[0], 1)])
        return [figures], [merge([piece]) for piece in pieces]


def one_by_one(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[int, Result]]:
    """A `Spread` in this process; the next item is taken once the result before it has been used."""
    for number, item in enumerate(items):
        yield number, function(item)
