"""`curation-assets run`: whatever is out of date, wave after wave, in this process."""

from __future__ import annotations

import time

from curation_assets.cli.choice import find_step, shards_named
from curation_assets.cli.rebuild import Rebuild
from curation_assets.cli.runner import Runner, open_runner
from curation_assets.defs.run.outcome import result_lines, warning_lines
from curation_assets.errors import PoolSpecError
from curation_assets.graph.relations import descendants, descendants_to_force, ingest_steps


def run_pool(pool: str, *, first: str | None, shards: str | None, accept_removals: bool = False) -> int:
    """Run a pool; returns the exit code. See the help of the command for its options.

    Raises:
        PoolSpecError: if the pool, the step or a shard does not exist, or the combination would mix clusters.
        PoolBusyError: if another process runs the same pool.
        RemovalsError: if many files are gone, unless `accept_removals`.
    """
    with open_runner(pool) as runner:
        began, driver = time.monotonic(), runner.driver
        begin = find_step(driver.steps, "--from", first) if first else None
        names = _chosen_steps(runner, begin, shards)
        runner.close_interrupted_runs()
        runner.sync_shards(accept_removals=accept_removals)
        keys = shards_named([shard.key for shard in driver.storage.shards()], shards) if shards else None
        rebuild = None
        if begin:
            rebuild = Rebuild(driver.home, pool, ["run", begin, keys])
            runner.force(set(descendants_to_force(driver.steps, begin)) & set(names), rebuild)
        spec, storage = driver.spec, driver.storage
        succeeded = runner.carry_out(names, keys, rebuild)
        if succeeded:
            if n := storage.remove_orphans(list(driver.steps)):
                runner.say(f"removed {n} unfinished outputs of interrupted runs from the object store")
            seconds = time.monotonic() - began
            for line in result_lines(spec, storage, runner.n_made, seconds, whole=keys is None):
                runner.say(line)
        for line in warning_lines(spec, storage):
            runner.say(line, style="yellow")
    return 0 if succeeded else 1


def _chosen_steps(runner: Runner, begin: str | None, shards: str | None) -> list[str]:
    steps = runner.driver.steps
    if not shards:
        return list(steps)
    read_alone = [
        name
        for name in ingest_steps(steps)
        if all(steps[source].partitioned for source in steps[name].inputs) and not steps[name].level
    ]
    if begin is not None and begin not in read_alone:
        raise PoolSpecError(
            f"--shards with --from {begin} would mix clusters of an old and a new fit. Use --shards alone, or with "
            f"--from {' or '.join(read_alone)}"
        )
    return [name for name in read_alone if begin is None or name in descendants(steps, begin)]
