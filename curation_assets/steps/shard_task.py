"""One shard's output as an item for an engine: made, or recorded as failed, wherever it runs."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from curation_assets.storage.atomic import Leftovers
from curation_assets.storage.outputs import Facts, OutputWriter, Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard

ShardReport = Callable[[float, str], None]
"""Takes the share of a shard that is done, and a detail."""
ProduceShard = Callable[[Shard, OutputWriter, ShardReport], None]


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


@dataclass(frozen=True, slots=True)
class MakeShard:
    """Makes the output of one shard.

    Args:
        storage: outputs of the pool.
        step: name of the asset.
        produce: writes the output; travels to other processes if the engine does.
        more: goes into the summary of every output.
        on_progress: takes the position and share of a shard and a detail; None where it runs elsewhere.
        leftovers: see `Leftovers`.
    """

    storage: PoolStorage
    step: str
    produce: ProduceShard
    more: dict[str, Any]
    on_progress: Callable[[float, str], None] | None = None
    leftovers: Leftovers = field(default_factory=Leftovers)

    def __call__(self, item: ShardItem) -> ShardOutcome:
        """Make it; whatever one shard does, the others go on."""

        def report(done: float, detail: str) -> None:
            if self.on_progress:
                self.on_progress(item.position + min(done, 1.0), f"shard {item.shard.key}: {detail}")

        try:
            output = self.storage.output(self.step, item.shard.key)
            with output.writing(item.recipe, self.leftovers) as writer:
                self.produce(item.shard, writer, report)
                writer.summary.update(self.more)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            return ShardOutcome(None, message, traceback.format_exc(), is_transient(error))
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
