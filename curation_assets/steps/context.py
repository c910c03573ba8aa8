"""What a step works with: the pool, its own declaration, and where its output goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation_assets.engines import Engine, LocalEngine
from curation_assets.formats import build_reader
from curation_assets.formats.base import ShardReader
from curation_assets.graph.base import Step
from curation_assets.pools import EncoderSettings, PoolSpec
from curation_assets.storage.outputs import OutputWriter
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard

if TYPE_CHECKING:
    from curation_assets.encoders import Encoder
    from curation_assets.encoders.tokenizers import TokenCounter

Report = Callable[[float, str], None]
"""Takes the share that is done (0 to 1) and a detail."""
Observe = Callable[[str, str | None, Mapping[str, Any]], None]
"""Takes another step, one of its shards (None if it has one output for the pool), and figures to show there."""


@dataclass(frozen=True)
class PoolAccess:
    """A pool with its outputs, and what reads its files; readers are built on first use.

    Relative paths of the pool count from `home_folder`.
    """

    spec: PoolSpec
    storage: PoolStorage
    home_folder: str = "."

    @cached_property
    def reader(self) -> ShardReader:
        """Reader of the source files."""
        return build_reader(self.spec.source, Path(self.home_folder), self.spec.memory_budget)

    @cached_property
    def evaluation_readers(self) -> dict[str, ShardReader]:
        """Readers of the evaluation sets, by name; none without decontamination."""
        sets = self.spec.decontamination.evaluation_sets if self.spec.decontamination else ()
        home, budget = Path(self.home_folder), self.spec.memory_budget
        return {entry.name: build_reader(entry.source, home, budget) for entry in sets}

    def encoder(self) -> Encoder | None:
        """The pool's encoder, loaded once per process; None for a pool of embeddings."""
        from curation_assets.encoders.loading import load_encoder

        return load_encoder(self.spec.encoder) if self.spec.encoder else None

    def token_counter(self) -> TokenCounter | None:
        """What counts tokens, loaded once per process; None for a pool of embeddings."""
        return _loaded_counter(self.spec.tokenizer, self.spec.encoder) if self.spec.encoder else None


@lru_cache(maxsize=1)
def _loaded_counter(name: str | None, encoder: EncoderSettings) -> TokenCounter:
    from curation_assets.encoders.tokenizers import build_tokenizer

    return build_tokenizer(name, encoder)


def _ignore(*_: object) -> None:
    """Progress, lines and figures that nobody asked for."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """All that a step function gets.

    Args:
        part: the shard, for a partitioned step.
        engine: where heavy work runs. A step that spreads over shards already runs there.
        report: takes progress.
        log: takes a line for the log of the run.
        observe: takes figures to show on another step, or on one of its shards.
        forced: whether the user asked for the step by name; then earlier decisions are not reused.
    """

    pool: PoolAccess
    step: Step
    writer: OutputWriter
    part: Shard | None = None
    engine: Engine = field(default_factory=LocalEngine)
    report: Report = _ignore
    log: Callable[[str], None] = _ignore
    observe: Observe = _ignore
    forced: bool = False

    @property
    def spec(self) -> PoolSpec:
        """The pool's settings."""
        return self.pool.spec

    @property
    def storage(self) -> PoolStorage:
        """The pool's outputs."""
        return self.pool.storage

    @property
    def shard(self) -> Shard:
        """The shard whose output is made.

        Raises:
            ValueError: if the step has one output for the whole pool.
        """
        if self.part is None:
            raise ValueError(f"step '{self.step.name}' has one output for the pool, not one per shard")
        return self.part
