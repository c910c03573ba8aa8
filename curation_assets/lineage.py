"""The steps of a pool's curation: what each depends on, which settings decide it, and what is out of date.

One description serves the Dagster graph, the command line and the steps themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation_assets.pools import PoolSpec
from curation_assets.storage.fingerprint import combined_digest, fingerprint
from curation_assets.storage.outputs import Facts, Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard

# Raised by one whenever the code of a step starts to give other results.
CODE_VERSIONS = {
    "raw_pool": "1",
    "embeddings": "1",
    "initial": "1",
    "resampled": "1",
    "clusters": "1",
    "assign": "1",
    "selection": "1",
    "ledger": "1",
    "balanced_dataset": "1",
    "curation_report": "1",
}
_NOT_DECISIVE = {"batch_size", "device"}


@dataclass(frozen=True, slots=True)
class Step:
    """One asset of a pool."""

    name: str
    partitioned: bool
    inputs: tuple[str, ...]
    settings: Mapping[str, Any]
    code_version: str

    @property
    def config_fingerprint(self) -> str:
        """Digest of settings and code: Dagster's code version of the asset."""
        return fingerprint([self.settings, self.code_version])[:12]


def level_asset(level: int, kind: str) -> str:
    """Name of a level's asset: kind is initial, resampled, clusters or assign."""
    return f"level_{level}_{kind}"


def pool_steps(spec: PoolSpec) -> dict[str, Step]:
    """Every step of a pool in topological order, by name."""
    steps: dict[str, Step] = {}

    def add(name: str, kind: str, inputs: Sequence[str], settings: Any, *, partitioned: bool = False) -> None:
        steps[name] = Step(name, partitioned, tuple(inputs), settings, CODE_VERSIONS[kind])

    source = spec.source.model_dump(mode="json", exclude={"path", "pattern", "files_per_shard"})
    encoder = spec.encoder.model_dump(mode="json", exclude=_NOT_DECISIVE)
    add("raw_pool", "raw_pool", [], {"source": source}, partitioned=True)
    add(
        "embeddings",
        "embeddings",
        ["raw_pool"],
        {
            "encoder": encoder,
            "max_image_pixels": spec.source.max_image_pixels,
            "metric": spec.preprocessing.metric,
        },
        partitioned=True,
    )
    for level in range(1, spec.n_levels + 1):
        _add_level(spec, level, add)
    assigns = [level_asset(level, "assign") for level in range(1, spec.n_levels + 1)]
    clusters = [level_asset(level, "clusters") for level in range(1, spec.n_levels + 1)]
    targets = {"targets": [target.model_dump(mode="json") for target in spec.targets], "seed": spec.seed}
    add("selection", "selection", ["embeddings", assigns[0], *clusters], targets)
    add("ledger", "ledger", ["raw_pool", "embeddings", "selection"], {}, partitioned=True)
    add("balanced_dataset", "balanced_dataset", ["raw_pool", "selection"], {}, partitioned=True)
    first = level_asset(1, "initial")
    report_inputs = ["raw_pool", "embeddings", *([first] if first in steps else []), *clusters, *assigns]
    presentation = {"description": spec.description, "seed": spec.seed}
    add("curation_report", "curation_report", [*report_inputs, "selection", "ledger"], presentation)
    return steps


def _add_level(spec: PoolSpec, level: int, add: Any) -> None:
    settings = spec.levels[level - 1]
    below = ["embeddings"] if level == 1 else [level_asset(level - 1, "clusters")]
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
        if settings.n_clusters == "auto":
            fit["n_levels"] = spec.n_levels
    resampling = {
        "resampling_steps": settings.steps,
        "samples_per_cluster": settings.samples_per_cluster,
        "strategy": settings.strategy,
    }
    initial, resampled = level_asset(level, "initial"), level_asset(level, "resampled")
    if settings.steps:
        add(initial, "initial", below, fit)
        add(resampled, "resampled", [*below, initial], fit | resampling)
        add(level_asset(level, "clusters"), "clusters", [*below, initial, resampled], fit | resampling)
    else:
        add(level_asset(level, "clusters"), "clusters", below, fit)
    assign_below = [level_asset(level - 1, "assign")] if level > 1 else []
    inputs = ["embeddings", level_asset(level, "clusters"), *assign_below]
    assign_settings = {"metric": spec.preprocessing.metric}
    add(level_asset(level, "assign"), "assign", inputs, assign_settings, partitioned=True)


def descendants(steps: Mapping[str, Step], first: str) -> list[str]:
    """A step and everything downstream of it, in topological order."""
    reached = {first}
    for step in steps.values():
        if reached & set(step.inputs):
            reached.add(step.name)
    return [name for name in steps if name in reached]


def direct_inputs(steps: Mapping[str, Step], name: str) -> list[str]:
    """Inputs of a step that no other of its inputs depends on: the edges a reader of the graph needs."""
    inputs = steps[name].inputs
    return [
        source
        for source in inputs
        if not any(other != source and other in descendants(steps, source) for other in inputs)
    ]


class Freshness:
    """What is up to date, judged by the facts beside the outputs; facts are read once per instance."""

    def __init__(self, storage: PoolStorage, steps: Mapping[str, Step], shards: Sequence[Shard]) -> None:
        self.steps = steps
        self.shards = {shard.key: shard for shard in shards}
        self._storage = storage
        self._facts: dict[tuple[str, str | None], Facts | None] = {}

    def keys_of(self, step: Step) -> list[str | None]:
        """The outputs of a step: one per shard, or one (None)."""
        return list(self.shards) if step.partitioned else [None]

    def facts(self, step: str, shard: str | None) -> Facts | None:
        """Facts of an output, if it is complete."""
        if (step, shard) not in self._facts:
            self._facts[step, shard] = self._storage.output(step, shard).facts()
        return self._facts[step, shard]

    def recipe(self, name: str, shard: str | None) -> Recipe | None:
        """What the output would be made of now; None while an input is missing."""
        step = self.steps[name]
        inputs: dict[str, str] = {}
        if name == "raw_pool" and shard is not None:
            inputs["source"] = self.shards[shard].source_digest
        for input_name in step.inputs:
            digest = self._input_digest(self.steps[input_name], step, shard)
            if digest is None:
                return None
            inputs[input_name] = digest
        return Recipe(step.settings, inputs, step.code_version)

    def _input_digest(self, source: Step, step: Step, shard: str | None) -> str | None:
        if source.partitioned and step.partitioned:
            facts = self.facts(source.name, shard)
            return facts.digest if facts else None
        if source.partitioned:
            every = {key: self.facts(source.name, key) for key in self.shards}
            if not all(every.values()):
                return None
            return combined_digest({key: facts.digest for key, facts in every.items() if facts})
        facts = self.facts(source.name, None)
        if facts is None:
            return None
        return facts.parts.get(str(shard), facts.digest) if step.partitioned else facts.digest

    def reason(self, name: str, shard: str | None) -> str | None:
        """Why an output is out of date, None if it is not; inputs count as they are stored now."""
        facts = self.facts(name, shard)
        if facts is None:
            return "not made yet"
        recipe = self.recipe(name, shard)
        if recipe is None:
            missing = [source for source in self.steps[name].inputs if not self._is_made(source, shard)]
            return f"input missing: {', '.join(missing)}"
        if recipe.fingerprint == facts.fingerprint:
            return None
        return explain_change(facts, recipe)

    def _is_made(self, name: str, shard: str | None) -> bool:
        step = self.steps[name]
        keys = [shard] if step.partitioned and shard is not None else self.keys_of(step)
        return all(self.facts(name, key) for key in keys)

    def outdated(self) -> dict[str, dict[str | None, str]]:
        """Every out-of-date output by step, with its reason; steps downstream of one are out of date too."""
        found: dict[str, dict[str | None, str]] = {}
        for step in self.steps.values():
            reasons = {key: reason for key in self.keys_of(step) if (reason := self.reason(step.name, key))}
            upstream = [name for name in step.inputs if name in found]
            for key in self.keys_of(step):
                changed = [name for name in upstream if not self._spared(name, step, key, found)]
                if changed and key not in reasons:
                    reasons[key] = f"upstream is out of date: {', '.join(changed)}"
            if reasons:
                found[step.name] = reasons
        return found

    def _spared(self, name: str, step: Step, key: str | None, found: Mapping[str, Any]) -> bool:
        """Whether an outdated input concerns other shards only."""
        return self.steps[name].partitioned and step.partitioned and key not in found[name]


def explain_change(facts: Facts, recipe: Recipe) -> str:
    """What differs between a stored output and what it would be made of now, in words."""
    changes = []
    if facts.code_version != recipe.code_version:
        changes.append(f"code version {facts.code_version} -> {recipe.code_version}")
    for key in sorted({*facts.settings, *recipe.settings}):
        before, after = facts.settings.get(key), recipe.settings.get(key)
        if before != after:
            changes.append(f"{key} changed from {before} to {after}")
    names = sorted({*facts.inputs, *recipe.inputs})
    changes += [
        f"input {name} changed" for name in names if facts.inputs.get(name) != recipe.inputs.get(name)
    ]
    return "; ".join(changes) or "recorded recipe differs"
