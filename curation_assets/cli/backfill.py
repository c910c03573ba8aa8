"""`curation-assets backfill`: chosen steps again, for all shards or some, in one process or several."""

from __future__ import annotations

import time

from rich.console import Console

from curation_assets import progress
from curation_assets.cli.choice import (
    failed_shards,
    find_last_step,
    find_step,
    missing_shards,
    shards_named,
    steps_between,
    steps_of_shards,
)
from curation_assets.cli.redo import Redo
from curation_assets.cli.runner import Runner
from curation_assets.cli.terminal import TerminalSink
from curation_assets.defs.run.pool_lock import only_runner
from curation_assets.errors import PoolSpecError
from curation_assets.graph.freshness import Again
from curation_assets.project import find_spec, open_home


def backfill_pool(
    pool: str,
    *,
    first: str | None,
    last: str | None,
    shards: str | None,
    failed: bool,
    missing: bool,
    parallel: int,
) -> int:
    """Make chosen steps again; returns the exit code.

    Args:
        pool: name of the pool.
        first: step or level to begin with; raw_pool if shards are chosen and it is not given.
        last: step or level to end with.
        shards: `a,b` or `a..b`.
        failed: the shards that failed and are not up to date since; only what is out of date of them.
        missing: the shards that lack an output of the steps; only what is out of date of them.
        parallel: processes for partitioned steps.

    Raises:
        PoolSpecError: if a step or shard does not exist, or the combination would mix clusters.
        PoolBusyError: if another process runs the same pool.
    """
    from curation_assets.defs.run.dead_runs import close_dead_runs
    from curation_assets.defs.run.event_log import open_instance
    from curation_assets.defs.run.shared_lock import only_runner_of_all

    some = [
        option
        for option, given in (("--shards", shards), ("--failed", failed), ("--missing", missing))
        if given
    ]
    if len(some) > 1:
        raise PoolSpecError(f"{' and '.join(some)} are given: choose one of them")
    if first is None and not some:
        raise PoolSpecError(
            "backfill needs --from STEP, or a choice of shards: --shards, --failed or --missing"
        )
    home = open_home()
    spec = find_spec(home, pool)
    console = Console()
    with only_runner(home, pool), open_instance() as instance, only_runner_of_all(instance, pool):
        began = time.monotonic()
        runner = Runner(home, spec, instance, console, parallel=parallel)
        begin = find_step(runner.steps, "--from", first or "raw_pool")
        end = find_last_step(runner.steps, "--to", last) if last else None
        close_dead_runs(instance)
        runner.sync_shards()
        freshness = runner.freshness()
        keys = None
        if not some:
            names = steps_between(runner.steps, begin, end)
        else:
            names = steps_of_shards(freshness, begin, end)
            if shards:
                keys = shards_named(list(freshness.shards), shards)
            else:
                keys = (
                    failed_shards(instance, pool, freshness, names)
                    if failed
                    else missing_shards(freshness, names)
                )
        redo = None
        if not (failed or missing):
            redo = Redo(home, pool, ["backfill", begin, end, keys])
            runner.again = Again(frozenset(names), redo.since)
            if redo.is_continued:
                runner.say(
                    f"continuing the backfill of {redo.since[:19]} UTC: what it has made since then is kept"
                )
        with TerminalSink(console) as sink, progress.shown_in(sink):
            if keys != [] and not runner.bring_up_to_date(names, keys):
                return 1
        if redo:
            redo.finish()
        which = f" of {len(keys)} shards" if keys is not None else ""
        if runner.n_made:
            runner.say(f"pool '{pool}': {runner.n_made} assets{which} in {time.monotonic() - began:.0f} s")
        else:
            kind = (
                "no shard failed"
                if failed
                else "no shard lacks an output"
                if missing
                else "all is up to date"
            )
            runner.say(f"pool '{pool}': nothing to do, {kind}")
    return 0


def work(pool: str, names: list[str], block: tuple[str, str], again: str) -> int:
    """One block of shards on behalf of a backfill in another process, which holds the pool's lock."""
    from curation_assets.cli.workers import die_with_parent
    from curation_assets.defs.run.event_log import open_instance
    from curation_assets.defs.run.tags import AGAIN_TAG, again_of

    die_with_parent()
    home = open_home()
    with open_instance() as instance:
        console = Console(force_terminal=False)
        runner = Runner(home, find_spec(home, pool), instance, console, again_of({AGAIN_TAG: again}))
        with TerminalSink(console) as sink, progress.shown_in(sink):
            return 0 if runner.execute(names, block, "block of a backfill") else 1
