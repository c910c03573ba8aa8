"""The one planner of a pool's runs: it lists the files, decides about a refit and chooses the next runs.

The command line, the sensor and the schedules all use it. Each of them decides how to execute a run, when to retry
after a failure, and which files are complete.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import dagster as dg

from curation_assets.defs.access import access
from curation_assets.defs.keys import partitions_name, pool_tag
from curation_assets.defs.partitions import sync_partitions
from curation_assets.defs.run.dead_runs import process_tag
from curation_assets.defs.run.removals import KEPT_ASSETS, KEPT_DAYS, require_few_removals, split_away
from curation_assets.defs.run.tags import (
    FORCED_TAG,
    PARENT_RUN_TAG,
    POOL_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    REASON_TAG,
    WAVE_TAG,
    forced_text,
)
from curation_assets.formats.base import Listing, SourceFile
from curation_assets.graph.base import Step
from curation_assets.graph.freshness import Forced, Freshness
from curation_assets.graph.refit import choose_fit_rows, due_refit
from curation_assets.graph.relations import fit_steps
from curation_assets.graph.steps import pool_steps
from curation_assets.graph.waves import MOST_RUNS_OF_A_WAVE, Wave, contiguous_blocks, next_wave
from curation_assets.pools import PoolSpec
from curation_assets.project import Home
from curation_assets.steps.cleaning.evaluation_sets import take_evaluation_listing
from curation_assets.steps.comparison.labels_table import take_labels_sight
from curation_assets.steps.context import PoolAccess
from curation_assets.steps.listing import list_pool
from curation_assets.storage.listing.regrouping import known_or_regrouped
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import ListingChange, Shard, is_to_be_saved, relisted, save_left_out

_LONGEST_REASON = 500
Block = tuple[str, str]
"""First and last shard of a run, neighbours in Dagster's order of partitions."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do next."""

    freshness: Freshness
    """What the plan was made from."""
    wave: Wave | None
    """The next wave; None if everything is up to date."""
    refit: str = ""
    """Why a refit was decided just now; empty if it was not."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One Dagster run of a wave."""

    steps: list[str]
    block: Block | None
    """None for unpartitioned steps."""
    reason: str


@dataclass
class Driver:
    """Plans the runs of one pool; `forced` steps are rebuilt even if they are up to date."""

    home: Home
    spec: PoolSpec
    instance: dg.DagsterInstance
    forced: Forced | None = None

    @cached_property
    def pool(self) -> PoolAccess:
        """The pool's outputs and readers."""
        return access(self.spec, self.home)

    @property
    def storage(self) -> PoolStorage:
        """Stored outputs of the pool."""
        return self.pool.storage

    @cached_property
    def steps(self) -> dict[str, Step]:
        """Steps of the pool in topological order."""
        return pool_steps(self.spec)

    def look(self) -> Listing:
        """The pool's files as they are now; nothing is recorded."""
        return list_pool(self.pool)

    def list_files(self, listing: Listing | None = None) -> list[SourceFile]:
        """The pool's files as they are now; the files of its evaluation sets and its table of labels are recorded.

        Args:
            listing: of the pool's files, if they were listed just now.

        Raises:
            PoolSpecError: if a folder does not exist or holds no matching file, or the table does not exist.
        """
        listing = listing or self.look()
        save_left_out(self.storage.folder, listing.left_out)
        take_evaluation_listing(self.pool)
        take_labels_sight(self.pool)
        return listing.files

    def sync_shards(
        self,
        files: Sequence[SourceFile],
        why_set_aside: Callable[[Shard], str] = lambda _: "",
        *,
        accept_removals: bool = False,
    ) -> ListingChange:
        """Group complete files into shards, take out shards that are gone, and make Dagster's partitions the same.

        What was read and embedded of a shard that is gone is kept for a week, and used again if its files come back.

        Args:
            files: complete files.
            why_set_aside: gives why the pool is curated without a shard for now; empty if it takes part.
            accept_removals: take out any number of shards, and remove what is stored of those that are gone at once.

        Raises:
            RemovalsError: if many files are gone and that is not accepted; nothing is changed.
        """
        known = known_or_regrouped(self.storage)
        change = relisted(files, self.spec.source.files_per_shard, known)
        if not accept_removals:
            require_few_removals(change, known, self.spec.name, self.spec.source.max_gone_share)
        shards = [replace(shard, set_aside=why_set_aside(shard)) for shard in change.shards]
        kept, removed = split_away(change.away, at_once=accept_removals)
        stored = [step.name for step in self.steps.values() if step.partitioned]
        for key in change.gone:
            self.storage.remove_shard(key, [name for name in stored if name not in KEPT_ASSETS])
        for shard in removed:
            self.storage.remove_shard(shard.key, stored)
        listed = sorted([*shards, *kept], key=lambda shard: shard.key)
        if is_to_be_saved(listed, known):
            self.storage.save_shards(listed)
        sync_partitions(self.instance, self.spec, shards)
        return replace(change, shards=shards)

    def take_in_files(self, *, accept_removals: bool = False) -> list[str]:
        """List the files as they are now; every shard takes part. Returns what changed, in words.

        Raises:
            RemovalsError: see `sync_shards`.
        """
        files = self.list_files()
        aside = [shard.key for shard in self.storage.all_shards() if shard.set_aside]
        change = self.sync_shards(files, accept_removals=accept_removals)
        news = (
            [f"{len(change.shards)} shards of {len(files)} files: {change.summary}"] if change.summary else []
        )
        if change.gone and not accept_removals:
            news.append(
                f"what was read and embedded of gone shards is kept for {KEPT_DAYS} days, in case their files come "
                f"back; --accept-removals removes it now"
            )
        if aside:
            news.append(f"set aside by the sensor until now, and tried again: {', '.join(aside)}")
        return news

    def freshness(self, shards: Sequence[Shard] | None = None) -> Freshness:
        """What is out of date now, of the given shards or else of those that take part."""
        shards = self.storage.shards() if shards is None else shards
        return Freshness(self.storage, self.steps, shards, self.forced)

    def plan(self, names: Collection[str] | None = None, shards: Collection[str] | None = None) -> Plan:
        """The next wave. If a refit is due, all present rows become those of the fit first.

        Args:
            names: steps to consider; all if None. A refit is decided only if all fit steps are among them.
            shards: shards to consider; all if None. A refit is decided only if all are considered.
        """
        freshness, refit = self.freshness(), ""
        if shards is None and (names is None or set(fit_steps(self.steps)) <= set(names)):
            reason = due_refit(freshness)
            if reason and choose_fit_rows(self.storage, freshness, reason):
                freshness, refit = self.freshness(), reason
        return Plan(freshness, next_wave(freshness, names, shards), refit)

    def ordered_shards(self) -> list[str]:
        """All shards in Dagster's order of partitions."""
        return list(self.instance.get_dynamic_partitions(partitions_name(self.spec)))

    def runs(self, wave: Wave, shards: Collection[str] | None = None) -> Iterator[PlannedRun]:
        """The runs that make a wave, or only some of its shards: one, or one for each block of neighbouring shards."""
        names = list(wave.outputs)
        if not wave.partitioned:
            yield PlannedRun(names, None, wave.summary)
            return
        ordered = self.ordered_shards()
        # A forced run rebuilds its whole block, so blocks are not joined across shards that are up to date.
        most = None if self.forced else MOST_RUNS_OF_A_WAVE
        for first, last in contiguous_blocks(ordered, wave.shards if shards is None else shards, most):
            inside = set(ordered[ordered.index(first) : ordered.index(last) + 1])
            yield PlannedRun(names, (first, last), wave.summary_of(inside))

    def tags(
        self, run: PlannedRun, *, in_this_process: bool, parent: str = "", wave: str = ""
    ) -> dict[str, str]:
        """Tags of one run.

        Args:
            run: what it makes and why.
            in_this_process: whether this process executes the run, so that the run ends with it.
            parent: id of the run that it is a wave of.
            wave: number and name of the wave.
        """
        tags = {POOL_TAG: pool_tag(self.spec), REASON_TAG: run.reason[:_LONGEST_REASON]}
        if in_this_process:
            tags |= process_tag()
        if parent:
            tags |= {PARENT_RUN_TAG: parent, WAVE_TAG: wave}
        if run.block:
            tags |= {RANGE_START_TAG: run.block[0], RANGE_END_TAG: run.block[1]}
        if self.forced:
            tags[FORCED_TAG] = forced_text(self.forced)
        return tags
