"""One look at a growing pool: what arrived, what is out of date, and what to run next.

Level-triggered: every decision is taken anew from the listing, the stored facts and Dagster's runs. The cursor
only remembers what cannot be read off those: files that are still moving, and attempts that failed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import dagster as dg

from curation_assets.defs.jobs import job_for
from curation_assets.defs.partitions import ListingChange, partitions_name, take_listing
from curation_assets.defs.run.arrivals import Unsettled, settle
from curation_assets.defs.run.dead_runs import ACTIVE_STATUSES, close_dead_runs
from curation_assets.defs.run.pool_lock import only_runner
from curation_assets.defs.run.shared_lock import only_runner_of_all
from curation_assets.defs.run.tags import POOL_TAG, run_tags
from curation_assets.errors import CurationError, PoolBusyError
from curation_assets.formats import build_reader
from curation_assets.formats.base import ShardReader, SourceFile
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.refit import choose_fit_rows, due_refit
from curation_assets.graph.relations import shard_steps
from curation_assets.graph.steps import pool_steps
from curation_assets.graph.waves import MOST_RUNS_OF_A_WAVE, Wave, contiguous_blocks, next_wave
from curation_assets.pools import PoolSpec
from curation_assets.project import Home
from curation_assets.steps.cleaning.evaluation_sets import take_evaluation_listing
from curation_assets.steps.context import evaluation_readers
from curation_assets.storage.fingerprint import fingerprint
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.shards import Shard
from curation_assets.storage.tables import level_asset

_LONGEST_WAIT_SECONDS = 86_400.0
_FULL_LOOK_EVERY_SECONDS = 600.0
_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Attempt:
    """A shard, or a step without shards, that was requested and is not up to date yet."""

    about: str
    """Digest of what was tried: another content or setting is another attempt."""
    n_failures: int
    at: float
    """Unix time of the last request or failure."""

    def waits_until(self, retry_seconds: float) -> float:
        """When it may be tried again: the wait doubles with every failure, up to a day."""
        if self.n_failures == 0:
            return self.at
        return self.at + min(_LONGEST_WAIT_SECONDS, retry_seconds * 2 ** (self.n_failures - 1))


@dataclass(slots=True)
class Cursor:
    """What one look hands to the next."""

    unsettled: dict[str, Unsettled] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    quiet: str = ""
    """Digest of listing and settings at which everything was up to date; empty if something was not."""
    looked_at: float = 0.0
    """Unix time of the last look at every output."""

    @classmethod
    def read(cls, text: str | None) -> Cursor:
        """A stored cursor; a fresh one if there is none, or it is of another make."""
        try:
            stored = json.loads(text or "{}")
            return cls(
                {path: Unsettled(*entry) for path, entry in stored.get("unsettled", {}).items()},
                {key: Attempt(*entry) for key, entry in stored.get("attempts", {}).items()},
                stored.get("quiet", ""),
                stored.get("looked_at", 0.0),
            )
        except (ValueError, TypeError, AttributeError):
            return cls()

    def text(self) -> str:
        """The cursor as Dagster stores it."""
        rows = {
            "unsettled": {path: list(asdict(entry).values()) for path, entry in self.unsettled.items()},
            "attempts": {key: list(asdict(entry).values()) for key, entry in self.attempts.items()},
        }
        plain = {"quiet": self.quiet, "looked_at": self.looked_at}
        return json.dumps(plain | rows, separators=(",", ":"))


def _inside(ordered: Sequence[str], block: tuple[str, str]) -> set[str]:
    return set(ordered[ordered.index(block[0]) : ordered.index(block[1]) + 1])


def _failed(times: int) -> str:
    return "failed once" if times == 1 else f"failed {times} times"


def _is_closed(reader: ShardReader, file: SourceFile) -> bool:
    try:
        return reader.is_closed(file)
    except CurationError:
        # Unreadable: not a matter of waiting. Its shard will say what is wrong, and the others go on.
        return True


@dataclass(frozen=True, slots=True)
class Look:
    """What came out of a look: runs to request, or why there are none."""

    words: str
    requests: tuple[dg.RunRequest, ...] = ()


class Watcher:
    """Looks at one pool.

    Args:
        spec: the pool.
        home: of the project.
        instance: Dagster's.
        cursor: of the last look; is changed in place.
    """

    def __init__(self, spec: PoolSpec, home: Home, instance: dg.DagsterInstance, cursor: Cursor) -> None:
        self._spec, self._home, self._instance, self._cursor = spec, home, instance, cursor
        self._storage = PoolStorage(home.storage_root, spec.name)
        self._steps = pool_steps(spec)
        self._shard_steps = shard_steps(self._steps)

    def look(self, now: float) -> Look:
        """Take in what arrived and say what to run.

        Args:
            now: Unix time.
        """
        close_dead_runs(self._instance)
        if busy := self._active_run():
            return Look(busy)
        try:
            name = self._spec.name
            with only_runner(self._home, name), only_runner_of_all(self._instance, name):
                return self._look(now)
        except PoolBusyError as error:
            return Look(str(error))

    def _active_run(self) -> str | None:
        for run in self._instance.get_runs(dg.RunsFilter(statuses=ACTIVE_STATUSES)):
            assets = {key.path[-1] for key in run.asset_selection or () if key.path[0] == self._spec.name}
            if assets or run.tags.get(POOL_TAG) == self._spec.name:
                return f"run {run.run_id[:8]} is under way: {', '.join(sorted(assets)) or run.job_name}"
        return None

    def _look(self, now: float) -> Look:
        cursor, spec = self._cursor, self._spec
        reader = build_reader(spec.source, self._home.folder)
        known = {file.path: file for shard in self._storage.all_shards() for file in shard.files}
        try:
            listed = reader.list_files()
        # Object stores raise errors of their own clients, which share no base class.
        except Exception as error:
            return Look(f"the pool cannot be listed: {error}")
        try:
            take_evaluation_listing(spec, evaluation_readers(spec, self._home.folder), self._storage)
        except Exception as error:
            return Look(f"the evaluation sets cannot be listed: {error}")
        arrivals = settle(
            listed,
            known,
            cursor.unsettled,
            now=now,
            settle_seconds=spec.watch.settle_seconds,
            unclosed_seconds=spec.watch.unclosed_seconds,
            is_closed=lambda file: _is_closed(reader, file),
        )
        cursor.unsettled = arrivals.unsettled
        quiet = fingerprint(
            [
                [(file.path, file.size_bytes, file.version) for file in arrivals.settled],
                [step.config_fingerprint for step in self._steps.values()],
                self._storage.evaluation_digest() if spec.decontamination else None,
            ]
        )
        if quiet == cursor.quiet and now - cursor.looked_at < _FULL_LOOK_EVERY_SECONDS:
            return Look(f"up to date{self._waiting_words()}")
        if not arrivals.settled:
            return Look(f"no file is complete yet{self._waiting_words()}")
        cursor.quiet, cursor.looked_at = "", now
        self._count_failures(now)
        change = take_listing(
            self._instance,
            spec,
            self._storage,
            arrivals.settled,
            lambda shard: self._why_set_aside(shard, now),
        )
        look = self._plan(change, now)
        if not look.requests and look.words.startswith("up to date") and not self._cursor.attempts:
            cursor.quiet = quiet
        return look

    def _count_failures(self, now: float) -> None:
        """Attempts end here: no run is active. What is up to date is forgotten, what is not has failed."""
        shards = {shard.key: shard for shard in self._storage.all_shards()}
        freshness = Freshness(self._storage, self._steps, list(shards.values()))
        still: dict[str, Attempt] = {}
        for key, attempt in self._cursor.attempts.items():
            kind, _, name = key.partition(":")
            if kind == "step":
                still[key] = attempt
                continue
            shard = shards.get(name)
            # Further along than when it was requested is no failure: the run stopped at another shard's.
            if shard is None or self._attempted(freshness, shard) != attempt.about:
                continue
            was_tried = not shard.set_aside
            still[key] = Attempt(attempt.about, attempt.n_failures + 1, now) if was_tried else attempt
        self._cursor.attempts = still

    def _attempted(self, freshness: Freshness, shard: Shard) -> str | None:
        """The shard's content and the first step it is late in; None if it is up to date."""
        tree_stands = freshness.reason(level_asset(1, "clusters"), None) is None
        steps = [step for step in self._shard_steps if tree_stands or not self._steps[step].level]
        late = next((step for step in steps if freshness.reason(step, shard.key)), None)
        return f"{shard.source_digest} {late}" if late else None

    def _why_set_aside(self, shard: Shard, now: float) -> str:
        """Says so if the shard failed with this content, and its time to be tried again has not come."""
        attempt = self._cursor.attempts.get(f"shard:{shard.key}")
        if attempt is None or attempt.n_failures == 0 or not attempt.about.startswith(shard.source_digest):
            return ""
        waits = now < attempt.waits_until(self._spec.watch.retry_seconds)
        return _failed(attempt.n_failures) if waits else ""

    def _plan(self, change: ListingChange, now: float) -> Look:
        took = f"{change.words}; " if change.words else ""
        shards = [shard for shard in change.shards if not shard.set_aside]
        for gone in change.gone:
            self._cursor.attempts.pop(f"shard:{gone}", None)
        if not shards:
            return Look(f"{took}every shard failed{self._waiting_words()}")
        freshness = Freshness(self._storage, self._steps, shards)
        reason = due_refit(freshness)
        if reason and choose_fit_rows(self._storage, freshness, reason):
            took += f"refit from level 1: {reason}; "
            freshness = Freshness(self._storage, self._steps, shards)
        wave = next_wave(freshness)
        if wave is None:
            self._cursor.attempts = {
                key: attempt for key, attempt in self._cursor.attempts.items() if key.startswith("shard:")
            }
            return Look(f"{took}up to date{self._waiting_words()}")
        if wave.partitioned and set(wave.outputs) <= set(self._shard_steps):
            return self._request_shards(wave, freshness, took, now)
        if waiting := self._backed_off(wave, now):
            return Look(f"{took}{waiting}{self._waiting_words()}")
        return self._request(wave, wave.shards, took)

    def _request_shards(self, wave: Wave, freshness: Freshness, took: str, now: float) -> Look:
        chosen = sorted(wave.shards)[: self._spec.watch.shards_per_run]
        for name in chosen:
            key, about = f"shard:{name}", self._attempted(freshness, freshness.shards[name])
            earlier = self._cursor.attempts.get(key)
            n_failures = earlier.n_failures if earlier and earlier.about == about else 0
            self._cursor.attempts[key] = Attempt(about or "", n_failures, now)
        return self._request(wave, set(chosen), took)

    def _backed_off(self, wave: Wave, now: float) -> str | None:
        """Why a step that failed before is not tried yet; notes the attempt if it is."""
        name = next(iter(wave.outputs))
        key = f"step:{name}"
        about = fingerprint([{n: sorted(map(str, keys)) for n, keys in wave.outputs.items()}, wave.words])
        earlier = self._cursor.attempts.get(key)
        if earlier is None or earlier.about != about:
            self._cursor.attempts[key] = Attempt(about, 0, now)
            return None
        failed = Attempt(about, earlier.n_failures + 1, earlier.at)
        until = failed.waits_until(self._spec.watch.retry_seconds)
        if now < until:
            return f"{name} {_failed(failed.n_failures)}: next try in {until - now:.0f} s"
        self._cursor.attempts[key] = Attempt(about, failed.n_failures, now)
        return None

    def _request(self, wave: Wave, shards: set[str], took: str) -> Look:
        blocks: list[tuple[str, str] | None] = [None]
        ordered = self._instance.get_dynamic_partitions(partitions_name(self._spec.name))
        if wave.partitioned:
            blocks = list(contiguous_blocks(ordered, shards, MOST_RUNS_OF_A_WAVE))
        requests = tuple(
            dg.RunRequest(
                # Dagster runs a key once, whatever became of the cursor since.
                run_key=f"{self._spec.name}:{self._cursor.looked_at:.3f}:{i}",
                job_name=job_for(self._spec, set(wave.outputs)),
                asset_selection=[dg.AssetKey([self._spec.name, name]) for name in wave.outputs],
                tags=run_tags(
                    self._spec.name,
                    block,
                    reason=took + wave.words_for(_inside(ordered, block) if block else None),
                    in_this_process=False,
                ),
            )
            for i, block in enumerate(blocks)
        )
        which = f" of {len(shards)} shards" if wave.partitioned else ""
        return Look(f"{took}{', '.join(wave.outputs)}{which}: {wave.words}", requests)

    def _waiting_words(self) -> str:
        parts = [
            f"{path} ({entry.why})" for path, entry in list(self._cursor.unsettled.items())[:_NAMES_SHOWN]
        ]
        parts += [
            f"{key.removeprefix('shard:')} ({_failed(attempt.n_failures)})"
            for key, attempt in list(self._cursor.attempts.items())
            if attempt.n_failures and key.startswith("shard:")
        ][:_NAMES_SHOWN]
        return f"; waiting for {', '.join(parts)}" if parts else ""
