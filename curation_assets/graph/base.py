"""What a step declares about itself; one step is one asset of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from curation_assets.storage.fingerprint import fingerprint


class Lane(StrEnum):
    """Groups of the graph view, drawn in alphabetical order."""

    INGEST = "1_ingest"
    HIERARCHY = "2_hierarchy"
    BALANCE = "3_balance"
    REPORT = "4_report"


class Weight(StrEnum):
    """What a step competes for; a heavy one waits for its Dagster pool, which has the same name."""

    LIGHT = ""
    MEMORY = "memory"
    GPU = "gpu"


class ExtraInput(StrEnum):
    """What a step reads besides the outputs of other steps."""

    SHARD_FILES = "files of the shard"
    EVALUATION_FILES = "files of the evaluation sets"
    LABELS_TABLE = "table of labels"
    FIT_ROWS = "rows of the fit"
    LEFT_OUT = "files that the listing leaves out"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a pool: what it depends on, what decides its content, and how it is shown and run."""

    name: str
    version: str
    """Raised whenever the code of the step starts to give other results."""
    inputs: tuple[str, ...]
    settings: Mapping[str, Any]
    """The settings of the pool that decide the content."""
    kind: str = ""
    """What `steps/registry.py` binds to a function: the name, without the level for a step of a level."""
    lane: Lane = Lane.INGEST
    description: str = ""
    """Markdown, shown in the UI."""
    badges: tuple[str, ...] = ()
    """Dagster's kinds, shown on the card."""
    weight: Weight = Weight.LIGHT
    partitioned: bool = False
    """One output per shard; otherwise one for the pool."""
    spreads: bool = False
    """The pool's engine shares the work out among its workers."""
    level: int = 0
    """Levels of the tree that the content depends on; 0 for steps upstream of the tree."""
    fits_tree: bool = False
    on_fit_rows: bool = False
    """Reads the rows that the tree is fitted on, not all present rows."""
    reads_labels: bool = True
    """Whether labels of the raw pool decide the content; if not, only the samples do."""
    reads_extras: bool = False
    """Whether what samples have beside content and labels decides the content, such as captions and metadata."""
    gives_fit_rows: bool = False
    """Its rows are the ones that the tree is fitted on and drawn from."""
    cleans: bool = False
    """Decides which rows may enter the tree."""
    draws: bool = False
    """Draws the targets: its descendants depend on the draw."""
    forced_with_ancestors: bool = True
    """Rebuilt when a step upstream is forced. If False, outputs whose rows did not change stay as they are."""
    extra_inputs: tuple[ExtraInput, ...] = ()
    after: tuple[str, ...] = ()
    """Steps that run before this one without deciding its content."""

    @property
    def reads_every_vector(self) -> bool:
        """Whether it reads the embeddings of its rows to the last one; other steps look at samples of them."""
        return self.partitioned or self.on_fit_rows or self.cleans

    def __post_init__(self) -> None:
        if not self.kind:
            object.__setattr__(self, "kind", self.name)

    @property
    def config_fingerprint(self) -> str:
        """Digest of settings and code: Dagster's code version of the asset."""
        return fingerprint([self.settings, self.version])[:12]
