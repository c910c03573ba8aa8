"""`curation-assets run`: whatever is out of date, wave after wave, in this process."""

from __future__ import annotations

import time

from curation_assets.cli.choice import find_step, shards_named
from curation_assets.cli.rebuild import Rebuild
from curation_assets.cli.runner import Runner, open_runner
from curation_assets.errors import PoolSpecError
from curation_assets.graph.relations import descendants, descendants_to_force, ingest_steps
from curation_assets.steps.comparison.verdict import verdict_lines
from curation_assets.steps.damage import damage_lines, set_aside_lines
from curation_assets.storage.tables import CurationReport


def run_pool(pool: str, *, first: str | None, shards: str | None) -> int:
    """Run a pool; returns the exit code. See the help of the command for its options.

    Raises:
        PoolSpecError: if the pool, the step or a shard does not exist, or the combination would mix clusters.
        PoolBusyError: if another process runs the same pool.
    """
    with open_runner(pool) as runner:
        began, driver = time.monotonic(), runner.driver
        begin = find_step(driver.steps, "--from", first) if first else None
        names = _chosen_steps(runner, begin, shards)
        runner.close_interrupted_runs()
        runner.sync_shards()
        keys = shards_named([shard.key for shard in driver.storage.shards()], shards) if shards else None
        rebuild = None
        if begin:
            rebuild = Rebuild(driver.home, pool, ["run", begin, keys])
            runner.force(set(descendants_to_force(driver.steps, begin)) & set(names), rebuild)
        if not runner.carry_out(names, keys, rebuild):
            _show_damage(runner)
            return 1
        if n := driver.storage.remove_orphans(list(driver.steps)):
            runner.say(f"removed {n} unfinished outputs of interrupted runs from the object store")
        _show_result(runner, time.monotonic() - began, whole=keys is None)
        _show_damage(runner)
    return 0


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


def _show_result(runner: Runner, seconds: float, *, whole: bool) -> None:
    pool, storage = runner.driver.spec.name, runner.driver.storage
    if runner.n_made == 0:
        runner.say(f"pool '{pool}' is up to date: nothing to do")
        return
    runner.say(f"pool '{pool}': {runner.n_made} assets updated in {seconds:.0f} s")
    facts = storage.output("selection").facts()
    if not whole or facts is None:
        return
    summary = facts.summary
    for target, size in summary["targets"].items():
        tokens = f", {summary['tokens'][target]:,} tokens" if "tokens" in summary else ""
        runner.say(
            f"  target {target}: {size:,} of {summary['n_admissible']:,} samples that targets draw from{tokens}"
        )
    runner.say(f"  dataset: {storage.output('balanced_dataset').folder}")
    # Each version has its own folder in an object store, so the asset's folder may hold several.
    runner.say(f"  release: {storage.output('dataset_release').path('any').parent}")
    runner.say(f"  report:  {storage.output(CurationReport.asset).path(CurationReport.PAGE)}")
    compared = storage.comparison().facts()
    for target, verdict in (compared.summary["verdicts"] if compared else {}).items():
        first, *others = verdict_lines(verdict)
        runner.say(f"  {target}: {first}")
        for line in others:
            runner.say(f"    {line}")


def _show_damage(runner: Runner) -> None:
    """Rejections by reason, damaged files and the shards that are left out: the last lines, so that they are seen."""
    driver = runner.driver
    for line in (*damage_lines(driver.spec, driver.storage), *set_aside_lines(driver.storage)):
        runner.say(f"  {line}", style="yellow")
