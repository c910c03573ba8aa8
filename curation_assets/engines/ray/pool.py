"""Workers that hold rows, as Ray actors: a lost one is started elsewhere and brought to its last state."""

from __future__ import annotations

import logging
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from curation_assets.algorithms.kmeans.worker_pool import Arguments, Call


# Smaller pieces are merged by the process that leads the fit: another hop would cost more.
_MERGED_BY_LEADER_BYTES = 64 * 2**20
# Smaller arguments are sent with each call, larger ones once to each machine for all its workers.
_SHARED_BYTES = 100_000
_PATIENCE_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Holder:
    """What runs in an actor: one worker, and the stage it has reached."""

    def __init__(self, build: Callable[[int], Any], number: int) -> None:
        self._build, self._number = build, number
        self._worker: Any = None
        self._stage = -1

    def call(
        self, stage: int, history: Sequence[tuple[str, tuple]], changes: bool, method: str, arguments: tuple
    ) -> Any:
        """Call a method of the worker at a given stage.

        The worker may be new, or it may have run this call already and the answer was lost. In both cases it is
        built again and brought to the stage first.

        Args:
            stage: number of changes before this call.
            history: calls that lead to the stage.
            changes: whether this call is a change.
            method: of the worker.
            arguments: of the call.
        """
        if self._stage != stage:
            self._stage = -1
            self._worker = self._build(self._number)
            for earlier, its_arguments in history:
                getattr(self._worker, earlier)(*_fetched(its_arguments))
            self._stage = stage
        if changes:
            # If the call fails half-way, the worker is at no known stage.
            self._stage = -1
        result = getattr(self._worker, method)(*_fetched(arguments))
        self._stage = stage + 1 if changes else stage
        return result

    def call_in_pieces(self, *call: Any) -> tuple[Any, ...]:
        """`call` of a method that returns (figures, pieces); every piece is returned as a separate object."""
        figures, pieces = self.call(*call)
        return (figures, *pieces)

    def merge(self, merge: Callable[[Sequence[Any]], Any], *pieces: Any) -> Any:
        """Merge pieces of several workers."""
        return merge(pieces)

    def peak_bytes(self) -> int:
        """The most memory that this process has taken so far."""
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class RayPool:
    """See `WorkerPool`."""

    def __init__(self, ray: ModuleType, actors: Sequence[Any]) -> None:
        self._ray, self._actors = ray, actors
        self._stage = 0
        self._history: list[list[tuple[str, tuple]]] = [[] for _ in actors]
        self._kept: dict[int, tuple[Call, list[tuple]]] = {}

    @property
    def n_workers(self) -> int:
        """See `WorkerPool.n_workers`."""
        return len(self._actors)

    def ask(self, method: str, arguments: Arguments) -> list[Any]:
        """See `WorkerPool.ask`."""
        return list(self._ray.get(self._call(method, self._shared(arguments), changes=False)))

    def change(self, method: str, arguments: Arguments, history: Sequence[Call]) -> list[Any]:
        """See `WorkerPool.change`."""
        shared: dict[int, Any] = {}
        results = self._ray.get(self._call(method, self._shared(arguments, shared), changes=True))
        self._advance(history, shared)
        return list(results)

    def change_and_merge(
        self,
        method: str,
        arguments: Arguments,
        history: Sequence[Call],
        merge: Callable[[Sequence[Any]], Any],
        merged_bytes: int,
    ) -> tuple[list[Any], list[Any]]:
        """See `WorkerPool.change_and_merge`; workers merge large pieces, each worker its own range."""
        few = merged_bytes * self.n_workers <= _MERGED_BY_LEADER_BYTES
        n_pieces = 1 if few else self.n_workers
        shared: dict[int, Any] = {}
        cut = [(*mine, n_pieces) for mine in self._shared(arguments, shared)]
        answers = self._call(method, cut, changes=True, n_pieces=n_pieces)
        figures = self._ray.get([answer[0] for answer in answers])
        by_piece = list(zip(*(answer[1:] for answer in answers), strict=True))
        if few:
            merged = [merge(self._ray.get(list(pieces))) for pieces in by_piece]
        else:
            merging = zip(self._actors, by_piece, strict=True)
            merged = self._ray.get([actor.merge.remote(merge, *pieces) for actor, pieces in merging])
        self._advance(history, shared)
        return list(figures), merged

    def peak_bytes(self) -> int:
        """The most memory that a worker has taken so far."""
        return max(self._ray.get([actor.peak_bytes.remote() for actor in self._actors]))

    def _call(self, method: str, arguments: Arguments, *, changes: bool, n_pieces: int = 0) -> list[Any]:
        answers = []
        for actor, history, mine in zip(self._actors, self._history, arguments, strict=True):
            call = (self._stage, history, changes, method, mine)
            if n_pieces:
                answers.append(actor.call_in_pieces.options(num_returns=1 + n_pieces).remote(*call))
            else:
                answers.append(actor.call.remote(*call))
        return answers

    def _advance(self, history: Sequence[Call], shared: dict[int, Any]) -> None:
        self._stage += 1
        # The first calls of a fit are in the history of every iteration; they go into Ray's store once.
        self._kept = {
            id(call): self._kept.get(id(call)) or (call, self._shared(call.arguments, shared))
            for call in history
        }
        self._history = [
            [(call.method, mine[w]) for call, mine in self._kept.values()] for w in range(self.n_workers)
        ]

    def _shared(self, arguments: Arguments, shared: dict[int, Any] | None = None) -> list[tuple]:
        """Arguments with large arrays in Ray's store, each stored once for all workers."""
        shared = {} if shared is None else shared

        def share(value: Any) -> Any:
            if not isinstance(value, np.ndarray) or value.nbytes < _SHARED_BYTES:
                return value
            if id(value) not in shared:
                # Keep the array beside its reference, so that no other array gets its id.
                shared[id(value)] = (value, self._ray.put(value))
            return shared[id(value)][1]

        return [tuple(map(share, mine)) for mine in arguments]


@contextmanager
def ray_pool(
    ray: ModuleType, build: Callable[[int], Any], n_workers: int, options: dict[str, Any]
) -> Iterator[RayPool]:
    """A pool for the block; Ray reserves the resources in `options` for each worker."""
    # Otherwise the calls that follow one lost with its machine wait half a minute.
    holder = ray.remote(
        max_restarts=-1,
        max_task_retries=-1,
        allow_out_of_order_execution=True,
        scheduling_strategy="SPREAD",
        **options,
    )(Holder)
    actors = [holder.remote(build, number) for number in range(n_workers)]
    try:
        _wait_for(ray, actors, options)
        yield RayPool(ray, actors)
    finally:
        for actor in actors:
            ray.kill(actor)


def _wait_for(ray: ModuleType, actors: Sequence[Any], options: dict[str, Any]) -> None:
    waiting = [actor.peak_bytes.remote() for actor in actors]
    while waiting:
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_PATIENCE_SECONDS)
        if waiting:
            free = {
                name: n for name, n in ray.available_resources().items() if name in ("CPU", "GPU", "memory")
            }
            _log.warning(
                "%d of %d Ray workers are waiting for resources: each needs %s, free are %s. They start when resources "
                "become free; to avoid the wait, lower engine.workers or add nodes",
                len(waiting),
                len(actors),
                options,
                free,
            )


def _fetched(arguments: tuple) -> tuple:
    """Arguments, with references into Ray's store replaced by their values."""
    import ray

    return tuple(ray.get(value) if isinstance(value, ray.ObjectRef) else value for value in arguments)
