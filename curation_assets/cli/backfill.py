"""`curation-assets backfill`: rebuild chosen steps, for all shards or some, in one process or several."""

from __future__ import annotations

import time

from rich.console import Console

from curation_assets import progress
from curation_assets.cli.choice import (
    failed_shards,
    find_step,
    missing_shards,
    shards_named,
    steps_between,
    steps_of_shards,
)
from curation_assets.cli.interrupts import ends_cleanly
from curation_assets.cli.rebuild import Rebuild
from curation_assets.cli.runner import Runner, open_runner, waves_of
from curation_assets.cli.terminal import TerminalSink
from curation_assets.cli.workers import die_with_parent
from curation_assets.defs.run.driver import Driver, PlannedRun
from curation_assets.defs.run.event_log import open_instance
from curation_assets.defs.run.tags import FORCED_TAG, forced_of
from curation_assets.errors import PoolSpecError
from curation_assets.project import find_spec, open_home

_NOTHING_TO_DO = {
    "--failed": "no failed shard is out of date",
    "--missing": "no shard lacks an output",
}


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
    """Rebuild chosen steps; returns the exit code. See the help of the command for its options.

    Raises:
        PoolSpecError: if a step or shard does not exist, or the combination would mix clusters.
        PoolBusyError: if another process runs the same pool.
    """
    chosen_by = {"--shards": bool(shards), "--failed": failed, "--missing": missing}
    options = [option for option, is_given in chosen_by.items() if is_given]
    if len(options) > 1:
        raise PoolSpecError(f"{' and '.join(options)} are given: choose one of them")
    if first is None and not options:
        raise PoolSpecError("backfill needs --from STEP, --shards, --failed or --missing")
    option = options[0] if options else ""
    with open_runner(pool, parallel=parallel) as runner:
        began, steps = time.monotonic(), runner.driver.steps
        begin = find_step(steps, "--from", first or "raw_pool")
        end = find_step(steps, "--to", last, last=True) if last else None
        runner.close_interrupted_runs()
        runner.sync_shards()
        names, keys = _chosen(runner, begin, end, option, shards or "")
        rebuild = None
        if option not in _NOTHING_TO_DO:
            rebuild = Rebuild(runner.driver.home, pool, ["backfill", begin, end, keys])
            runner.force(names, rebuild)
        if keys != [] and not runner.carry_out(names, keys, rebuild):
            return 1
        if runner.n_made:
            of_shards = f" for {len(keys)} shard{'' if len(keys) == 1 else 's'}" if keys is not None else ""
            seconds = time.monotonic() - began
            runner.say(f"pool '{pool}': {runner.n_made} assets updated{of_shards} in {seconds:.0f} s")
        else:
            why = _NOTHING_TO_DO.get(option, "everything is up to date")
            runner.say(f"pool '{pool}': nothing to do, {why}")
    return 0


def _chosen(
    runner: Runner, begin: str, end: str | None, option: str, shards: str
) -> tuple[list[str], list[str] | None]:
    """The steps, and the shards that an option chooses; None for all."""
    driver = runner.driver
    if not option:
        return steps_between(driver.steps, begin, end), None
    freshness = driver.freshness()
    names = steps_of_shards(freshness, begin, end)
    if option == "--shards":
        return names, shards_named(list(freshness.shards), shards)
    if option == "--failed":
        return names, failed_shards(driver.instance, driver.spec, freshness, names)
    return names, missing_shards(freshness, names)


def work(pool: str, names: list[str], block: tuple[str, str], forced: str, parent: str, wave: str) -> int:
    """Run one block of shards for a backfill in another process, which holds the pool's locks."""
    die_with_parent()
    home, console = open_home(), Console(force_terminal=False)
    with (
        ends_cleanly(),
        open_instance() as instance,
        TerminalSink(console) as sink,
        progress.shown_in(sink),
    ):
        driver = Driver(home, find_spec(home, pool), instance, forced_of({FORCED_TAG: forced}))
        waves = waves_of(driver, console)
        waves.parent, waves.wave = instance.get_run_by_id(parent), wave
        return 0 if waves.execute(PlannedRun(names, block, "block of a backfill")) else 1
