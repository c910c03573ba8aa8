"""`curation-assets verify`: reads everything that is stored, and names what is not what was written."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import islice

from rich.console import Console

from curation_assets import progress
from curation_assets.cli.terminal import TerminalSink, say
from curation_assets.defs.run.locks import PATIENCE_SECONDS, only_runner
from curation_assets.pools import PoolSpec
from curation_assets.project import Home, open_home, pools_of
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.verification import Verdict, mark_for_repair, stored_files, verify_file

_FILES_AT_ONCE = 256


def verify(pool: str | None, *, repair: bool) -> int:
    """Verify one pool or all; returns the exit code: 1 if something is damaged and was not marked for repair.

    Raises:
        PoolSpecError: if the named pool does not exist or is broken.
        PoolBusyError: if another process runs a pool that is to be repaired.
    """
    home, console = open_home(), Console()
    pools = pools_of(home)
    specs = [pools.find(pool)] if pool else list(pools.specs.values())
    damaged = [_verify_pool(home, spec, console, repair=repair) for spec in specs]
    for problem in () if pool else pools.problems():
        say(console, problem, "red")
    return 1 if any(damaged) and not repair else 0


def _verify_pool(home: Home, spec: PoolSpec, console: Console, *, repair: bool) -> bool:
    storage = home.storage(spec.name)
    with ExitStack() as locks:
        if repair:
            what = "curation-assets verify --repair"
            locks.enter_context(
                only_runner(home, spec.name, what, patience=PATIENCE_SECONDS, say=partial(say, console))
            )
        with TerminalSink(console) as sink, progress.shown_in(sink):
            verdicts = _read(storage)
        damages = [verdict.damage for verdict in verdicts if verdict.damage]
        for damage in damages:
            say(console, f"{spec.name}: {damage.file.path} {damage.what} ({damage.remedy})", "red")
            if repair:
                mark_for_repair(storage, damage)
    size = sum(verdict.n_bytes for verdict in verdicts)
    summary = f"{spec.name}: {len(verdicts):,} files, {size / 1e6:,.1f} MB"
    if not damages:
        say(console, f"{summary}: all as they were written", "green")
    elif repair:
        say(console, f"{summary}: {len(damages)} removed")
        say(console, f"make them again with: curation-assets run --pool {spec.name}")
    else:
        say(console, f"{summary}: {len(damages)} damaged")
        say(console, f"repair them with: curation-assets verify --pool {spec.name} --repair")
    if n := sum(1 for verdict in verdicts if not verdict.has_digest):
        say(
            console,
            f"{n:,} of them are facts without a digest of their own (from before 0.6): form checked only",
        )
    return bool(damages)


def _read(storage: PoolStorage) -> list[Verdict]:
    files = list(stored_files(storage))
    pending, verdicts = iter(files), list[Verdict]()
    with (
        progress.task("verify", len(files), lambda _: None) as report,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        while batch := list(islice(pending, _FILES_AT_ONCE)):
            verdicts += threads.map(lambda file: verify_file(storage, file), batch)
            report(len(verdicts), f"{len(verdicts):,} of {len(files):,} files")
    return verdicts
