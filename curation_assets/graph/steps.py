"""The steps of a pool's curation: what each depends on, and which settings decide it.

One description serves the Dagster graph, the command line and the steps themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation_assets.pools import PoolSpec
from curation_assets.pools.encoder import decisive_settings
from curation_assets.storage.fingerprint import fingerprint
from curation_assets.storage.tables import level_asset

# Raised by one whenever the code of a step starts to give other results.
CODE_VERSIONS = {
    "raw_pool": "2",
    "embeddings": "2",
    "token_counts": "1",
    "evaluation_sets": "1",
    "contaminated": "1",
    "duplicates": "2",
    "admitted": "1",
    "initial": "3",
    "resampled": "3",
    "clusters": "3",
    "assign": "1",
    "tree": "1",
    "drift": "1",
    "selection": "3",
    "ledger": "3",
    "balanced_dataset": "3",
    "dataset_release": "1",
    "atlas": "1",
    "curation_report": "3",
}
CLEANING_STEPS = ("evaluation_sets", "contaminated", "duplicates", "admitted")
_NOT_OF_A_SHARD = {"path", "pattern", "files_per_shard", "max_rejected_share"}


@dataclass(frozen=True, slots=True)
class Step:
    """One asset of a pool."""

    name: str
    partitioned: bool
    inputs: tuple[str, ...]
    settings: Mapping[str, Any]
    code_version: str
    level: int = 0
    """Levels of the tree that the step's content rests on; 0 for steps upstream of the tree."""
    on_fit_rows: bool = False
    """Reads the rows that the tree is fitted on, not all rows there are now."""
    after: tuple[str, ...] = ()
    """Steps that run before this one without deciding its content."""

    @property
    def config_fingerprint(self) -> str:
        """Digest of settings and code: Dagster's code version of the asset."""
        return fingerprint([self.settings, self.code_version])[:12]


def pool_steps(spec: PoolSpec) -> dict[str, Step]:
    """Every step of a pool in topological order, by name."""
    steps: dict[str, Step] = {}

    def add(name: str, kind: str, inputs: Sequence[str], settings: Any, **more: Any) -> None:
        more.setdefault("partitioned", False)
        steps[name] = Step(
            name=name, inputs=tuple(inputs), settings=settings, code_version=CODE_VERSIONS[kind], **more
        )

    top = spec.n_levels
    _add_ingest(spec, add)
    rows = rows_step(steps)
    for level in range(1, spec.n_levels + 1):
        _add_level(spec, level, rows, add)
    assigns = [level_asset(level, "assign") for level in range(1, spec.n_levels + 1)]
    clusters = [level_asset(level, "clusters") for level in range(1, spec.n_levels + 1)]
    add("tree", "tree", [*clusters, assigns[0]], {"keep_trees": spec.refit.keep_trees}, level=top)
    policy = spec.refit.model_dump(mode="json", include={"new_rows", "drift_score"})
    add("drift", "drift", ["embeddings", *assigns], policy, level=top)
    targets = {"targets": [target.model_dump(mode="json") for target in spec.targets], "seed": spec.seed}
    admitted = [rows] if rows != "embeddings" else []
    counted = ["token_counts"] if "token_counts" in steps else []
    # What was drawn from a tree that is about to go would be drawn twice: first drift decides.
    add(
        "selection",
        "selection",
        ["embeddings", *admitted, *counted, assigns[0], *clusters],
        targets,
        level=top,
        after=("tree", "drift"),
    )
    add(
        "ledger",
        "ledger",
        ["raw_pool", "embeddings", *admitted, assigns[0], "selection"],
        {},
        partitioned=True,
        level=top,
    )
    outputs = {"outputs": list(spec.output_formats)}
    add(
        "balanced_dataset",
        "balanced_dataset",
        ["raw_pool", "selection"],
        outputs,
        partitioned=True,
        level=top,
    )
    card = {"description": spec.description, "encoder": spec.encoder_name}
    add(
        "dataset_release",
        "dataset_release",
        ["embeddings", *admitted, assigns[0], "selection", "balanced_dataset"],
        outputs | card,
        level=top,
    )
    if spec.atlas:
        shown = spec.atlas.model_dump(mode="json") | {"seed": spec.seed}
        atlas_inputs = ["raw_pool", "embeddings", *assigns, "selection", "ledger"]
        add("atlas", "atlas", atlas_inputs, shown, level=top)
    first = level_asset(1, "initial")
    report_inputs = ["raw_pool", "embeddings", *([first] if first in steps else []), *clusters, *assigns]
    cleaned = [name for name in CLEANING_STEPS[1:] if name in steps]
    atlas = ["atlas"] if "atlas" in steps else []
    presentation = {"description": spec.description, "seed": spec.seed}
    add(
        "curation_report",
        "curation_report",
        [*report_inputs, *cleaned, "drift", "selection", "ledger", *atlas],
        presentation,
        level=top,
    )
    return steps


def _add_ingest(spec: PoolSpec, add: Any) -> None:
    """Steps from the pool's files to the rows that the tree may be fitted on."""
    source = spec.source.model_dump(mode="json", exclude=_NOT_OF_A_SHARD)
    encoder = decisive_settings(spec.encoder) if spec.encoder else spec.encoder_name
    add("raw_pool", "raw_pool", [], {"source": source}, partitioned=True)
    metric = {"metric": spec.preprocessing.metric}
    limit = getattr(spec.source, "max_image_pixels", None)
    embedded = {"encoder": encoder, **metric, **({"max_image_pixels": limit} if limit else {})}
    add("embeddings", "embeddings", ["raw_pool"], embedded, partitioned=True)
    if spec.counts_tokens:
        column = getattr(spec.source, "token_count_field", None)
        tokenizer = (
            {"token_count_field": column} if column else {"tokenizer": spec.tokenizer or spec.encoder_name}
        )
        add("token_counts", "token_counts", ["raw_pool"], tokenizer, partitioned=True)
    cleaned: list[str] = []
    if spec.decontamination:
        sets = spec.decontamination.model_dump(mode="json", include={"evaluation_sets"})
        add("evaluation_sets", "evaluation_sets", [], {**sets, "encoder": encoder, **metric})
        limit = {"threshold": spec.decontamination.threshold, "modality": spec.modality}
        cleaned.append("contaminated")
        inputs = ["raw_pool", "embeddings", "evaluation_sets"]
        add("contaminated", "contaminated", inputs, limit, partitioned=True)
    if spec.deduplication:
        # Contaminated samples go first, so that none of them is the twin that stays.
        rule = {"modality": spec.modality, "centring": spec.preprocessing.centring, "seed": spec.seed}
        settings = spec.deduplication.model_dump(mode="json") | metric | rule
        add("duplicates", "duplicates", ["raw_pool", "embeddings", *cleaned], settings)
        cleaned.append("duplicates")
    if cleaned:
        add("admitted", "admitted", ["embeddings", *cleaned], {}, partitioned=True)


def rows_step(steps: Mapping[str, Step]) -> str:
    """The step whose rows the tree is fitted on and drawn from: a cleaned pool's are the admitted ones."""
    return "admitted" if "admitted" in steps else "embeddings"


def _add_level(spec: PoolSpec, level: int, rows: str, add: Any) -> None:
    settings = spec.levels[level - 1]
    below = [rows] if level == 1 else [level_asset(level - 1, "clusters")]
    fit = {
        "n_clusters": settings.n_clusters,
        "n_coarse_clusters": settings.n_coarse_clusters,
        "max_iterations": settings.max_iterations,
        "tolerance": settings.tolerance,
        "metric": spec.preprocessing.metric,
        "seed": spec.seed,
    }
    if level == 1:
        fit["centring"] = spec.preprocessing.centring
        if spec.fit_rows is not None:
            fit["fit_rows"] = spec.fit_rows
        if settings.n_clusters == "auto":
            fit["n_levels"] = spec.n_levels
    resampling = {
        "resampling_steps": settings.steps,
        "samples_per_cluster": settings.samples_per_cluster,
        "strategy": settings.strategy,
    }
    initial, resampled = level_asset(level, "initial"), level_asset(level, "resampled")
    where = {"level": level, "on_fit_rows": level == 1}
    if settings.steps:
        add(initial, "initial", below, fit, **where)
        add(resampled, "resampled", [*below, initial], fit | resampling, **where)
        add(
            level_asset(level, "clusters"),
            "clusters",
            [*below, initial, resampled],
            fit | resampling,
            **where,
        )
    else:
        add(level_asset(level, "clusters"), "clusters", below, fit, **where)
    assign_below = [level_asset(level - 1, "assign")] if level > 1 else []
    inputs = ["embeddings", level_asset(level, "clusters"), *assign_below]
    assign_settings = {"metric": spec.preprocessing.metric}
    add(level_asset(level, "assign"), "assign", inputs, assign_settings, partitioned=True, level=level)


def descendants(steps: Mapping[str, Step], first: str) -> list[str]:
    """A step and everything downstream of it, in topological order."""
    reached = {first}
    for step in steps.values():
        if reached & set(step.inputs):
            reached.add(step.name)
    return [name for name in steps if name in reached]


def descendants_to_force(steps: Mapping[str, Step], first: str) -> list[str]:
    """A step and what follows it, to be made again; but output shards of which no row changed are not rewritten."""
    outputs = {"ledger", "balanced_dataset", "dataset_release"} - {first}
    return [name for name in descendants(steps, first) if name not in outputs]


def ingest_steps(steps: Mapping[str, Step]) -> list[str]:
    """Steps that take in a shard without the others: from its files to its clusters in a tree that stands."""
    return [name for name in shard_steps(steps) if "duplicates" not in steps[name].inputs]


def shard_steps(steps: Mapping[str, Step]) -> list[str]:
    """All partitioned steps before the selection."""
    return [name for name, step in steps.items() if step.partitioned and "selection" not in step.inputs]


def ancestors(steps: Mapping[str, Step], last: str) -> list[str]:
    """A step and everything upstream of it, in topological order."""
    reached = {last}
    for step in reversed(list(steps.values())):
        if step.name in reached:
            reached |= set(step.inputs)
    return [name for name in steps if name in reached]


def fit_steps(steps: Mapping[str, Step], level: int | None = None) -> list[str]:
    """The steps that make the tree (of one level, or of all), in topological order."""
    return [
        name
        for name, step in steps.items()
        if step.level and name.startswith("level_") and not step.partitioned and level in (None, step.level)
    ]


def direct_inputs(steps: Mapping[str, Step], name: str) -> list[str]:
    """Inputs of a step that no other of its inputs depends on: the edges a reader of the graph needs.

    What lies between embeddings and their assignment is a tree that stands: it is not run in between, so
    that edge is drawn, and keeps the two in order when one run holds both.
    """
    step = steps[name]
    inputs = (*step.inputs, *step.after)
    path = {other: s for other, s in steps.items() if not (step.partitioned and s.on_fit_rows)}
    return [
        source
        for source in inputs
        if not any(other != source and source in _upstream(path, steps, other) for other in inputs)
    ]


def _upstream(path: Mapping[str, Step], steps: Mapping[str, Step], last: str) -> set[str]:
    """Everything a step depends on through the steps of `path`."""
    reached: set[str] = set()
    waiting = [last]
    while waiting:
        step = waiting.pop()
        if step not in path:
            continue
        for source in (*steps[step].inputs, *steps[step].after):
            if source not in reached:
                reached.add(source)
                waiting.append(source)
    return reached
