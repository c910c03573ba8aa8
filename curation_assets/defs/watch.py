"""One look at a growing pool: what arrived, what is out of date, and what to run next.

Every look decides from the present state: the listing, the stored facts and Dagster's runs. The cursor remembers
only what these do not tell: files that are still being written, and attempts that failed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import dagster as dg
from upath import UPath

from curation_assets.defs.curate import Curate, run_step
from curation_assets.defs.keys import is_of_pool, op_names, pool_tag
from curation_assets.defs.run.arrivals import Unsettled, settle
from curation_assets.defs.run.background_listing import listed_within, seconds_so_far
from curation_assets.defs.run.dead_runs import ACTIVE_STATUSES, close_dead_runs
from curation_assets.defs.run.driver import Driver, PlannedRun
from curation_assets.defs.run.job_names import curate_job
from curation_assets.defs.run.locks import only_runner
from curation_assets.defs.run.tags import POOL_TAG
from curation_assets.defs.sources import SeenFiles, seen_files
from curation_assets.errors import CurationError, PoolBusyError, RemovalsError
from curation_assets.formats.base import ShardReader, SourceFile
from curation_assets.formats.listed.versions import is_same
from curation_assets.graph.freshness import Freshness
from curation_assets.graph.relations import shard_steps
from curation_assets.graph.waves import Wave
from curation_assets.pools import PoolSpec
from curation_assets.project import Home
from curation_assets.storage.atomic import write_text
from curation_assets.storage.evaluation import load_evaluation_digest
from curation_assets.storage.fingerprint import fingerprint, text_digest
from curation_assets.storage.labels import load_labels_digest
from curation_assets.storage.listing.files_table import StoredFiles
from curation_assets.storage.shards import ListingChange, Shard, listing_stamp
from curation_assets.storage.tables import level_asset

_LONGEST_WAIT_SECONDS = 86_400.0
_FULL_LOOK_EVERY_SECONDS = 600.0
_NAMES_SHOWN = 5
_MOST_IN_CURSOR = 1_000
"""Unsettled files; more are written to a file."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A shard or an unpartitioned step that was requested and is not up to date yet."""

    about: str
    """Digest of what was tried: a change of content or settings starts a new attempt."""
    n_failures: int
    at: float
    """Unix time of the last request or failure."""

    def waits_until(self, retry_seconds: float) -> float:
        """Unix time of the next try: the wait doubles with every failure, up to a day."""
        if self.n_failures == 0:
            return self.at
        return self.at + min(_LONGEST_WAIT_SECONDS, retry_seconds * 2 ** (self.n_failures - 1))


@dataclass(slots=True)
class Cursor:
    """What one look hands to the next."""

    unsettled: dict[str, Unsettled] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    quiet: str = ""
    """Digest of the listing and settings when everything was up to date; empty if something was not."""
    looked_at: float = 0.0
    """Unix time of the last look at every output."""
    observed: dict[str, str] = field(default_factory=dict)
    """Name of a source -> digest of its files when they were last observed; see `defs.sources`."""

    @classmethod
    def read(cls, text: str | None, work_file: Path | None = None) -> Cursor:
        """A stored cursor; a new one if there is none or it cannot be read.

        Args:
            text: what `text` gave.
            work_file: what it was given. If it is not as it was written, the files in it wait anew.
        """
        try:
            stored = json.loads(text or "{}")
            unsettled = stored.get("unsettled", {})
            if digest := stored.get("unsettled_digest"):
                content = work_file.read_text(encoding="utf-8") if work_file and work_file.exists() else ""
                unsettled = json.loads(content) if text_digest(content) == digest else {}
            return cls(
                {path: Unsettled(*entry) for path, entry in unsettled.items()},
                {key: Attempt(*entry) for key, entry in stored.get("attempts", {}).items()},
                stored.get("quiet", ""),
                stored.get("looked_at", 0.0),
                dict(stored.get("observed", {})),
            )
        except (ValueError, TypeError, AttributeError):
            return cls()

    def text(self, work_file: Path | None = None) -> str:
        """The cursor as Dagster stores it; many unsettled files go to `work_file`, as Dagster keeps every cursor."""
        unsettled = {path: [entry.stamp, entry.since, entry.why] for path, entry in self.unsettled.items()}
        rows: dict[str, object] = {
            "quiet": self.quiet,
            "looked_at": self.looked_at,
            "observed": self.observed,
            "attempts": {key: list(asdict(entry).values()) for key, entry in self.attempts.items()},
        }
        if work_file and len(unsettled) > _MOST_IN_CURSOR:
            content = json.dumps(unsettled, separators=(",", ":"))
            write_text(UPath(work_file), content)
            rows["unsettled_digest"] = text_digest(content)
        else:
            rows["unsettled"] = unsettled
        return json.dumps(rows, separators=(",", ":"))


def _failed(times: int) -> str:
    return "failed once" if times == 1 else f"failed {times} times"


def _digest(files: Sequence[SourceFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\0{file.size_bytes}\0{file.version}\n".encode())
    return digest.hexdigest()


def _is_closed(reader: ShardReader, file: SourceFile) -> bool:
    try:
        return reader.is_closed(file)
    except CurationError:
        # Waiting does not help an unreadable file. Its shard reports the error, and the others go on.
        return True


@dataclass(frozen=True, slots=True)
class Look:
    """The result of a look: a run to request, or why there is none."""

    summary: str
    request: dg.RunRequest | None = None


class Watcher:
    """Looks at one pool, and changes the cursor of the last look in place."""

    def __init__(self, spec: PoolSpec, home: Home, instance: dg.DagsterInstance, cursor: Cursor) -> None:
        self._driver, self._cursor = Driver(home, spec, instance), cursor
        self.seen: dict[str, SeenFiles] = {}
        """What the look found of each source; empty if it was not listed."""
        self._spec, self._home, self._instance = spec, home, instance
        self._storage, self._steps = self._driver.storage, self._driver.steps
        self._shard_steps = shard_steps(self._steps)

    def look(self, now: float) -> Look:
        """Record what arrived and decide what to run; `now` is Unix time."""
        close_dead_runs(self._instance, op_names(self._spec, self._steps))
        if busy := self._active_run():
            return Look(busy)
        try:
            with only_runner(self._home, self._spec.name, "the sensor looks at it"):
                return self._look(now)
        except PoolBusyError as error:
            return Look(str(error))

    def _active_run(self) -> str | None:
        for run in self._instance.get_runs(dg.RunsFilter(statuses=ACTIVE_STATUSES)):
            assets = {key.path[-1] for key in run.asset_selection or () if is_of_pool(key, self._spec)}
            if assets or run.tags.get(POOL_TAG) == pool_tag(self._spec):
                return f"run {run.run_id[:8]} is in progress: {', '.join(sorted(assets)) or run.job_name}"
        return None

    def _look(self, now: float) -> Look:
        cursor, spec = self._cursor, self._spec
        key = f"{self._home.folder}:{spec.name}"
        try:
            listing = listed_within(key, listing_stamp(self._storage.folder), self._driver.look)
            if listing is None:
                return Look(
                    f"still listing the files ({seconds_so_far(key):.0f} s so far); a later tick goes on"
                )
            listed = self._driver.list_files(listing)
        # Object stores raise errors of their own clients, which share no base class.
        except Exception as error:
            return Look(f"the files of the pool cannot be listed: {error}")
        arrivals = settle(
            listed,
            self._known(listed),
            cursor.unsettled,
            now=now,
            settle_seconds=spec.watch.settle_seconds,
            unclosed_seconds=spec.watch.unclosed_seconds,
            is_closed=lambda file: _is_closed(self._driver.pool.reader, file),
        )
        cursor.unsettled = arrivals.unsettled
        digest = _digest(arrivals.settled)
        self.seen = seen_files(arrivals.settled, digest, self._storage)
        quiet = fingerprint(
            [
                digest,
                [step.config_fingerprint for step in self._steps.values()],
                load_evaluation_digest(self._storage.folder) if spec.decontamination else None,
                load_labels_digest(self._storage.folder) if spec.probe and spec.probe.labels else None,
            ]
        )
        if quiet == cursor.quiet and now - cursor.looked_at < _FULL_LOOK_EVERY_SECONDS:
            return Look(f"up to date{self._waiting()}")
        if not arrivals.settled:
            return Look(f"no file is complete yet{self._waiting()}")
        cursor.quiet, cursor.looked_at = "", now
        self._count_failures(now)
        try:
            change = self._driver.sync_shards(arrivals.settled, lambda shard: self._why_set_aside(shard, now))
        except RemovalsError as error:
            return Look(str(error))
        look = self._plan(change, now)
        if look.request is None and look.summary.startswith("up to date") and not self._cursor.attempts:
            cursor.quiet = quiet
        return look

    def _known(self, listed: Sequence[SourceFile]) -> dict[str, SourceFile]:
        """The files of the last listing by path; one that has not changed is the listed one, held once."""
        now = {file.path: file for file in listed}
        known = {}
        for shard in self._storage.all_shards():
            stored = shard.files.unchecked() if isinstance(shard.files, StoredFiles) else shard.files
            for file in stored:
                same = now.get(file.path)
                known[file.path] = same if same and is_same(file, same) else file
        return known

    def _count_failures(self, now: float) -> None:
        """No run is active, so every attempt has ended: forget what is up to date, count the rest as failed."""
        shards = {shard.key: shard for shard in self._storage.all_shards()}
        freshness = self._driver.freshness(list(shards.values()))
        still: dict[str, Attempt] = {}
        for key, attempt in self._cursor.attempts.items():
            kind, _, name = key.partition(":")
            if kind == "step":
                still[key] = attempt
                continue
            shard = shards.get(name)
            # A shard that got further than before has not failed: another shard stopped the run.
            if shard is None or self._attempted(freshness, shard) != attempt.about:
                continue
            was_tried = not shard.set_aside
            still[key] = Attempt(attempt.about, attempt.n_failures + 1, now) if was_tried else attempt
        self._cursor.attempts = still

    def _attempted(self, freshness: Freshness, shard: Shard) -> str | None:
        """The shard's content and its first out-of-date step; None if it is up to date."""
        tree_stands = freshness.reason(level_asset(1, "clusters"), None) is None
        steps = [step for step in self._shard_steps if tree_stands or not self._steps[step].level]
        late = next((step for step in steps if freshness.reason(step, shard.key)), None)
        return f"{shard.source_digest} {late}" if late else None

    def _why_set_aside(self, shard: Shard, now: float) -> str:
        """How often the shard failed with this content, if its next try is still to come; else empty."""
        attempt = self._cursor.attempts.get(f"shard:{shard.key}")
        if attempt is None or attempt.n_failures == 0 or not attempt.about.startswith(shard.source_digest):
            return ""
        waits = now < attempt.waits_until(self._spec.watch.retry_seconds)
        return _failed(attempt.n_failures) if waits else ""

    def _plan(self, change: ListingChange, now: float) -> Look:
        news = f"{change.summary}; " if change.summary else ""
        for gone in change.gone:
            self._cursor.attempts.pop(f"shard:{gone}", None)
        if all(shard.set_aside for shard in change.shards):
            return Look(f"{news}every shard failed{self._waiting()}")
        plan = self._driver.plan()
        if plan.refit:
            news += f"refit from level 1: {plan.refit}; "
        wave = plan.wave
        if wave is None:
            self._cursor.attempts = {
                key: attempt for key, attempt in self._cursor.attempts.items() if key.startswith("shard:")
            }
            return Look(f"{news}up to date{self._waiting()}")
        if wave.partitioned and set(wave.outputs) <= set(self._shard_steps):
            return self._request_shards(wave, plan.freshness, news, now)
        if waiting := self._backed_off(wave, now):
            return Look(f"{news}{waiting}{self._waiting()}")
        return self._request(wave, [], news)

    def _request_shards(self, wave: Wave, freshness: Freshness, news: str, now: float) -> Look:
        """Take in new shards, and do everything that follows unless more of them are left for the next run."""
        chosen = sorted(wave.shards)[: self._spec.watch.shards_per_run]
        for name in chosen:
            key, about = f"shard:{name}", self._attempted(freshness, freshness.shards[name])
            earlier = self._cursor.attempts.get(key)
            n_failures = earlier.n_failures if earlier and earlier.about == about else 0
            self._cursor.attempts[key] = Attempt(about or "", n_failures, now)
        return self._request(wave, chosen if len(chosen) < len(wave.shards) else [], news)

    def _backed_off(self, wave: Wave, now: float) -> str | None:
        """Why a step that failed is not tried yet; None, and the attempt is recorded, if it is tried now."""
        name = next(iter(wave.outputs))
        key = f"step:{name}"
        about = fingerprint([{n: sorted(map(str, keys)) for n, keys in wave.outputs.items()}, wave.summary])
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

    def _request(self, wave: Wave, shards: list[str], news: str) -> Look:
        """One run that does all that is due, from this wave on; or only takes in the given shards."""
        pool = self._spec.name
        reason = f"{news}{', '.join(wave.outputs)}: {wave.summary}"
        config = Curate(list_files=False, shards=shards)
        request = dg.RunRequest(
            # Dagster never runs the same key twice, even if the cursor is lost.
            run_key=f"{pool}:{self._cursor.looked_at:.3f}",
            job_name=curate_job(pool),
            run_config={"ops": {run_step(pool): {"config": config.model_dump()}}},
            tags=self._driver.tags(PlannedRun([], None, reason), in_this_process=False),
        )
        n_shards = len(shards) or len(wave.shards)
        which = f" of {n_shards} shards" if wave.partitioned else ""
        return Look(f"{news}{', '.join(wave.outputs)}{which}: {wave.summary}", request)

    def _waiting(self) -> str:
        parts = [
            f"{path} ({entry.why})" for path, entry in list(self._cursor.unsettled.items())[:_NAMES_SHOWN]
        ]
        parts += [
            f"{key.removeprefix('shard:')} ({_failed(attempt.n_failures)})"
            for key, attempt in list(self._cursor.attempts.items())
            if attempt.n_failures and key.startswith("shard:")
        ][:_NAMES_SHOWN]
        return f"; waiting for {', '.join(parts)}" if parts else ""
