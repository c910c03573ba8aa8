"""Which outputs of a pool are out of date, and why. Our own fingerprints decide, not Dagster's.

An output is up to date if the recipe in its facts (settings, digests of its inputs, code version) equals the
recipe that would make it now. Level 1 is the exception, so that a tree lasts: the rows of its fit are recorded,
and it stays up to date when shards arrive, change or go, until a refit is decided.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from curation_assets.formats.accounts import standing
from curation_assets.graph.base import ExtraInput, Step
from curation_assets.graph.relations import fit_steps, rows_step
from curation_assets.storage.evaluation import load_evaluation_digest
from curation_assets.storage.fingerprint import canonical, combined_digest, fingerprint
from curation_assets.storage.fit_rows import FitRows, FittedShard
from curation_assets.storage.labels import load_labels_digest
from curation_assets.storage.outputs import Facts, Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.presence import StoredFiles
from curation_assets.storage.shards import Shard, load_left_out
from curation_assets.storage.tables import RawPool

_SOURCE, _FIT_ROWS, _LABELS, _LEFT_OUT = "source", "fit_rows", "labels", "left_out"
NOT_MADE = "not made yet"
_SHARE_READ_WHOLE = 4
"""Facts of a whole step are read at once if at least a quarter of the shards are judged."""


@dataclass(frozen=True, slots=True)
class Forced:
    """Steps to rebuild although they are up to date."""

    steps: frozenset[str]
    since: str
    """Timestamp: an output made later counts as rebuilt, so that a killed run resumes."""


Needed = Mapping[str, Collection[str | None]]
"""Step -> the outputs of it that something depends on: shards, or None for the one output of the pool."""


class Freshness:
    """What is up to date, judged by the facts beside the outputs. Each instance reads the facts once.

    Each of `forced` names steps to rebuild even if they are up to date.
    """

    def __init__(
        self,
        storage: PoolStorage,
        steps: Mapping[str, Step],
        shards: Sequence[Shard],
        *forced: Forced | None,
    ) -> None:
        self.steps = steps
        self.shards = {shard.key: shard for shard in shards}
        self._storage = storage
        self._forced = [order for order in forced if order]
        self._facts: dict[tuple[str, str | None], Facts | None] = {}
        self._read_whole: set[str] = set()
        self._combined: dict[tuple[str, str | None], str | None] = {}
        self._settings_seen: dict[str, Mapping[str, Any]] = {}
        self._files: dict[str, StoredFiles] = {}
        self._lost: dict[tuple[str, str | None], str | None] = {}
        self.rows_step = rows_step(steps)
        self._settings_text = {name: canonical(step.settings) for name, step in steps.items()}
        self._recorded_fit_rows = storage.fit_rows()

    def keys_of(self, step: Step) -> list[str | None]:
        """The outputs of a step: one per shard, or one (None)."""
        return list(self.shards) if step.partitioned else [None]

    def facts(self, step: str, shard: str | None) -> Facts | None:
        """Facts of an output, if it is complete."""
        if (step, shard) not in self._facts:
            self._facts[step, shard] = self._storage.output(step, shard).facts()
        return self._facts[step, shard]

    def facts_by_shard(self, step: str) -> dict[str, Facts | None]:
        """Facts of a partitioned step for every shard, read together."""
        if step not in self._read_whole:
            found = self._storage.shard_facts(step)
            for key in self.shards:
                self._facts.setdefault((step, key), found.get(key))
            self._read_whole.add(step)
        return {key: self._facts[step, key] for key in self.shards}

    def read_facts(self, step: str, shards: Collection[str | None]) -> None:
        """Read at once the facts that judging many shards needs; one by one takes several times as long."""
        if len(shards) * _SHARE_READ_WHOLE < len(self.shards):
            return
        for name in (step, *self.steps[step].inputs):
            if self.steps[name].partitioned:
                self.facts_by_shard(name)

    def fit_rows(self) -> FitRows | None:
        """The rows that the tree is fitted on; None if level 1 must be fitted on all present rows."""
        return self._standing_fit_rows

    @cached_property
    def _standing_fit_rows(self) -> FitRows | None:
        recorded = self._recorded_fit_rows
        if recorded is None or recorded.encoder != self._rows_settings():
            return None
        now = self.facts_by_shard(self.rows_step) if self.rows_step in self.steps else {}
        if all(
            (facts := now.get(key)) and facts.digest == was.digest for key, was in recorded.shards.items()
        ):
            return recorded
        # Some of the rows are gone, which matters only if level 1 still has to be fitted on them.
        return recorded if all(map(self._was_fitted, fit_steps(self.steps, 1))) else None

    def lost(self, name: str, shard: str | None) -> str | None:
        """Which stored file of an output is missing or has another size, in words; None if all are there."""
        if (name, shard) not in self._lost:
            if name not in self._files:
                self._files[name] = StoredFiles(self._storage.output(name).folder)
            facts = self.facts(name, shard)
            self._lost[name, shard] = self._files[name].lost(shard, facts) if facts else None
        return self._lost[name, shard]

    def _was_fitted(self, name: str) -> bool:
        step, facts, recorded = self.steps[name], self.facts(name, None), self._recorded_fit_rows
        return (
            facts is not None
            and recorded is not None
            and facts.code_version == step.version
            and fingerprint(facts.settings) == fingerprint(step.settings)
            and facts.inputs.get(self.rows_step) == recorded.digest
            and self.lost(name, None) is None
        )

    def all_rows(self, reason: str) -> FitRows | None:
        """All present rows, as the rows of a fit; None while a shard is not embedded and cleaned."""
        now = self.facts_by_shard(self.rows_step)
        if not now or not all(now.values()):
            return None
        embedded = {} if self.rows_step == "embeddings" else self.facts_by_shard("embeddings")
        shards = {
            key: FittedShard(facts.digest, int(facts.summary["n_rows"]), whole.digest if whole else "")
            for key, facts in now.items()
            if facts and ((whole := embedded.get(key)) or not embedded)
        }
        return FitRows(shards, self._rows_settings(), reason)

    def _rows_settings(self) -> str:
        """Fingerprint of the settings and code that decide which rows exist and how they are embedded."""
        cleaning = [step.config_fingerprint for step in self.steps.values() if step.cleans]
        encoder = self.steps["embeddings"].config_fingerprint
        return fingerprint([encoder, cleaning])[:12] if cleaning else encoder

    def tree_version(self, level: int | None = None) -> str | None:
        """Version of the tree up to a level (the top if None): settings, encoder and rows of its fits.

        Trees of the same version have the same cluster ids. None while the rows of the fit are not known.
        """
        digest = self._fit_rows_digest()
        if digest is None:
            return None
        top = max(step.level for step in self.steps.values())
        decisive = [
            [name, self.steps[name].config_fingerprint]
            for name in fit_steps(self.steps)
            if self.steps[name].level <= (top if level is None else level)
        ]
        return fingerprint([digest, self._rows_settings(), decisive])[:12]

    def recipe(self, name: str, shard: str | None) -> Recipe | None:
        """The recipe that would make the output now; None while an input is missing."""
        step = self.steps[name]
        inputs = dict(self._extra_input(extra, shard) for extra in step.extra_inputs)
        for input_name in step.inputs:
            digest = self._input_digest(self.steps[input_name], step, shard)
            if digest is None:
                return None
            inputs[input_name] = digest
        return Recipe(step.settings, inputs, step.version)

    def _extra_input(self, extra: ExtraInput, shard: str | None) -> tuple[str, str]:
        """Name and digest of what a step reads besides outputs of other steps, as recipes record it."""
        match extra:
            case ExtraInput.SHARD_FILES:
                return _SOURCE, self.shards[str(shard)].source_digest
            case ExtraInput.EVALUATION_FILES:
                return _SOURCE, load_evaluation_digest(self._storage.folder) or ""
            case ExtraInput.LABELS_TABLE:
                return _LABELS, load_labels_digest(self._storage.folder) or ""
            case ExtraInput.FIT_ROWS:
                return _FIT_ROWS, self._fit_rows_digest() or ""
            case ExtraInput.LEFT_OUT:
                return _LEFT_OUT, fingerprint(standing(load_left_out(self._storage.folder)))

    def _fit_rows_digest(self) -> str | None:
        rows = self.fit_rows()
        return rows.digest if rows else self._combined_digest(self.rows_step)

    def _combined_digest(self, name: str, part: str | None = None) -> str | None:
        if (name, part) not in self._combined:
            every = self.facts_by_shard(name)
            complete = {key: _digest(facts, part) for key, facts in every.items() if facts}
            digest = combined_digest(complete) if len(complete) == len(every) else None
            self._combined[name, part] = digest
        return self._combined[name, part]

    def _input_digest(self, source: Step, step: Step, shard: str | None) -> str | None:
        if source.partitioned and step.partitioned:
            facts = self.facts(source.name, shard)
            return _digest(facts, _part_read_by(step)) if facts else None
        if source.partitioned:
            if step.on_fit_rows and source.name == self.rows_step:
                return self._fit_rows_digest()
            return self._combined_digest(source.name, _part_read_by(step))
        facts = self.facts(source.name, None)
        if facts is None:
            return None
        if not step.partitioned:
            return facts.digest
        # A part stored for this step takes precedence over the one for all steps of the shard.
        own = facts.parts.get(f"{step.name}/{shard}")
        return own or facts.parts.get(str(shard), facts.digest)

    def reason(self, name: str, shard: str | None) -> str | None:
        """Why an output is out of date, judged by its inputs as they are stored now; None if it is up to date."""
        facts = self.facts(name, shard)
        if facts is None:
            return NOT_MADE
        recipe = self.recipe(name, shard)
        if recipe is None:
            return f"input missing: {', '.join(self.missing_inputs(name, shard))}"
        if self.is_forced(name, shard):
            return "rebuild requested"
        lost = self.lost(name, shard)
        if self._is_of(facts, recipe, name):
            return lost
        rows = self.fit_rows() if self.steps[name].on_fit_rows else None
        changes = explain_change(facts, recipe, rows.reason if rows else None, self.rows_step)
        return f"{changes}; {lost}" if lost else changes

    def is_merely_lost(self, name: str, shard: str | None) -> bool:
        """Whether lost files are all that is wrong with an output: made again, it comes out as it was."""
        lost = self.lost(name, shard)
        return lost is not None and self.reason(name, shard) == lost

    def is_forced(self, name: str, shard: str | None) -> bool:
        """Whether an existing output is to be rebuilt even if it is up to date."""
        orders = [order for order in self._forced if name in order.steps]
        facts = self.facts(name, shard) if orders else None
        return facts is not None and any(facts.made_at < order.since for order in orders)

    def _is_of(self, facts: Facts, recipe: Recipe, name: str) -> bool:
        """Whether the recipe made the output. Of many shards with equal settings only the first is hashed."""
        alike = self._settings_seen.get(name)
        if alike == facts.settings and facts.inputs == recipe.inputs:
            return facts.code_version == recipe.code_version
        if recipe.fingerprint_with(self._settings_text[name]) != facts.fingerprint:
            return False
        self._settings_seen[name] = facts.settings
        return True

    def missing_inputs(self, name: str, shard: str | None) -> list[str]:
        """Inputs of an output that do not exist, or not for every shard that needs them."""
        return [source for source in self.steps[name].inputs if not self._is_made(source, shard)]

    def _is_made(self, name: str, shard: str | None) -> bool:
        step = self.steps[name]
        if step.partitioned and shard is None:
            return all(self.facts_by_shard(name).values())
        return self.facts(name, shard if step.partitioned else None) is not None

    def outdated(self, among: Needed | None = None) -> dict[str, dict[str | None, str]]:
        """Every out-of-date output by step, with its reason; what is downstream of one is out of date too.

        `among` restricts the outputs that are looked at; it must hold everything that they depend on.
        """
        found: dict[str, dict[str | None, str]] = {}
        for step in self.steps.values():
            keys = self.keys_of(step)
            if among is not None:
                wanted = among.get(step.name, ())
                keys = [key for key in keys if key in wanted]
            if step.partitioned and keys:
                self.read_facts(step.name, keys)
            reasons = {key: reason for key in keys if (reason := self.reason(step.name, key))}
            if any(name in found for name in step.inputs):
                for key in keys:
                    changed = self.outdated_inputs(step, key, found)
                    if changed and key not in reasons:
                        reasons[key] = f"upstream is out of date: {', '.join(changed)}"
            if reasons:
                found[step.name] = reasons
        return found

    def outdated_inputs(
        self, step: Step, key: str | None, found: Mapping[str, Mapping[str | None, str]]
    ) -> list[str]:
        """The inputs of an output that make it out of date, among the outputs found to be so."""
        return [name for name in step.inputs if name in found and not self._spared(name, step, key, found)]

    def _spared(self, name: str, step: Step, key: str | None, found: Mapping[str, Any]) -> bool:
        """Whether an outdated input is irrelevant: it concerns other shards, rows that no fit uses, or labels."""
        if step.on_fit_rows and name == self.rows_step:
            return self.fit_rows() is not None
        if name == RawPool.asset and not step.reads_labels:
            here = [key] if step.partitioned and key in found[name] else found[name]
            if all(self._is_relabelled(name, other) for other in here):
                return True
        return self.steps[name].partitioned and step.partitioned and key not in found[name]

    def _is_relabelled(self, name: str, shard: str | None) -> bool:
        """Whether the labels that a shard of the raw pool keeps are all that is out of date in it."""
        facts, recipe = self.facts(name, shard), self.recipe(name, shard)
        if facts is None or recipe is None or self.is_forced(name, shard) or self.lost(name, shard):
            return False
        same_code = facts.code_version == recipe.code_version and facts.inputs == recipe.inputs
        return same_code and _without_labels(facts.settings) == _without_labels(recipe.settings)


def _without_labels(settings: Mapping[str, Any]) -> str:
    source = dict(settings.get("source", {}))
    source.pop("label_fields", None)
    return canonical({**settings, "source": source})


def _part_read_by(step: Step) -> str | None:
    """The part of a raw pool's facts that a step depends on; None for all of it."""
    if step.reads_extras:
        return None
    return RawPool.LABELLED if step.reads_labels else RawPool.CONTENT


def _digest(facts: Facts, part: str | None) -> str:
    """Digest of a part of a shard's output; of all of it where the part was never told apart."""
    return facts.digest if part is None else facts.digest_of(part)


def explain_change(
    facts: Facts, recipe: Recipe, refit_reason: str | None = None, rows_step: str = "embeddings"
) -> str:
    """The differences between the recipe of a stored output and the recipe that would make it now, in words.

    `refit_reason` is why other rows of `rows_step` were chosen for a fit.
    """
    changes = []
    if facts.code_version != recipe.code_version:
        changes.append(f"code version {facts.code_version} -> {recipe.code_version}")
    for key in sorted({*facts.settings, *recipe.settings}):
        before, after = facts.settings.get(key), recipe.settings.get(key)
        if before != after:
            changes.append(f"{key} changed from {_shown(before)} to {_shown(after)}")
    changed = [
        name
        for name in sorted({*facts.inputs, *recipe.inputs})
        if facts.inputs.get(name) != recipe.inputs.get(name)
    ]
    if refit_reason and rows_step in changed:
        changed.remove(rows_step)
        changes.append(f"refit: {refit_reason}")
    if changed:
        changes.append(f"input{'s' if len(changed) > 1 else ''} {', '.join(changed)} changed")
    return "; ".join(changes) or "recorded recipe differs"


def _shown(value: Any) -> str:
    """A setting as YAML shows it, whether it comes from YAML or from stored JSON."""
    return json.dumps(value, sort_keys=True) if isinstance(value, list | tuple | dict) else str(value)
