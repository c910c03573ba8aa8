"""One shard's output as an item for an engine: made, or recorded as failed, in whichever process it runs."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from curation_assets.errors import DeviceMemoryError, ModelUnavailableError
from curation_assets.faults import fault_line, meets_all
from curation_assets.graph.base import Step
from curation_assets.steps.context import PoolAccess, StepContext
from curation_assets.storage.atomic import Leftovers
from curation_assets.storage.outputs import Facts, Recipe
from curation_assets.storage.shards import Shard


@dataclass(frozen=True, slots=True)
class ShardItem:
    """A shard whose output is to be made."""

    shard: Shard
    recipe: Recipe
    position: int = 0
    """Among the shards of the run, for progress."""


@dataclass(frozen=True, slots=True)
class ShardOutcome:
    """What became of a shard."""

    facts: Facts | None
    """Of the output; None if it failed."""
    error: str = ""
    """Kind and message of the error."""
    trace: str = ""
    is_transient: bool = False
    """Whether storage did not answer, so that another try may succeed."""
    stops_others: bool = False
    """Whether every other shard would fail in the same way."""


@dataclass(frozen=True, slots=True)
class MakeShard:
    """Makes the output of one shard.

    Args:
        make: writes the output; travels to other processes if the engine does.
        more: goes into the summary of every output.
        on_progress: takes the position and share of a shard and a detail; None where it runs elsewhere.
    """

    pool: PoolAccess
    step: Step
    make: Callable[[StepContext], None]
    more: dict[str, Any]
    on_progress: Callable[[float, str], None] | None = None
    leftovers: Leftovers = field(default_factory=Leftovers)

    def __call__(self, item: ShardItem) -> ShardOutcome:
        """Make it; an error concerns this shard only."""

        def report(done: float, detail: str) -> None:
            if self.on_progress:
                self.on_progress(item.position + min(done, 1.0), f"shard {item.shard.key}: {detail}")

        try:
            output = self.pool.storage.output(self.step.name, item.shard.key)
            with output.writing(item.recipe, self.leftovers) as writer:
                self.make(StepContext(self.pool, self.step, writer, item.shard, report=report))
                writer.summary.update(self.more)
        except Exception as error:
            message = fault_line(error) or f"{type(error).__name__}: {error}"
            is_full = meets_all(error)
            return ShardOutcome(
                None,
                message,
                traceback.format_exc(),
                is_transient(error) and not is_full,
                is_full or isinstance(error, ModelUnavailableError | DeviceMemoryError),
            )
        return ShardOutcome(writer.stored())


def is_transient(error: BaseException) -> bool:
    """Whether storage did not answer, so that another try may succeed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(
            cause, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError
        ):
            return True
        cause = cause.__cause__
    return False
