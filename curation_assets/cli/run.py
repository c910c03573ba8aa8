"""`curation-assets run`: whatever is out of date, wave after wave, in this process."""

from __future__ import annotations

import time

from rich.console import Console

from curation_assets import progress
from curation_assets.cli.choice import find_step, shards_named
from curation_assets.cli.redo import Redo
from curation_assets.cli.runner import Runner
from curation_assets.cli.terminal import TerminalSink
from curation_assets.defs.run.pool_lock import only_runner
from curation_assets.errors import PoolSpecError
from curation_assets.graph.freshness import Again
from curation_assets.graph.relations import descendants, descendants_to_force, ingest_steps
from curation_assets.project import find_spec, open_home
from curation_assets.storage.tables import CurationReport


def run_pool(pool: str, *, first: str | None, shards: str | None) -> int:
    """Run a pool; returns the exit code.

    Args:
        pool: name of the pool.
        first: run this step (or the first of this level) and all after it again.
        shards: ingest only these shards: `a,b` or `a..b`.

    Raises:
        PoolSpecError: if the pool, the step or a shard does not exist, or the combination would mix clusters.
        PoolBusyError: if another process runs the same pool.
    """
    from curation_assets.defs.run.dead_runs import close_dead_runs
    from curation_assets.defs.run.event_log import open_instance
    from curation_assets.defs.run.shared_lock import only_runner_of_all

    home = open_home()
    spec = find_spec(home, pool)
    console = Console()
    with only_runner(home, pool), open_instance() as instance, only_runner_of_all(instance, pool):
        began = time.monotonic()
        runner = Runner(home, spec, instance, console)
        begin = find_step(runner.steps, "--from", first) if first else None
        names = _chosen_steps(runner, begin, shards)
        if n_dead := close_dead_runs(instance):
            runner.say(f"{n_dead} earlier runs were cut off; continuing from what they had finished")
        runner.sync_shards()
        keys = shards_named([shard.key for shard in runner.storage.shards()], shards) if shards else None
        redo = None
        if begin:
            redo = Redo(home, pool, ["run", begin, keys])
            again = set(descendants_to_force(runner.steps, begin)) & set(names)
            runner.again = Again(frozenset(again), redo.since)
        with TerminalSink(console) as sink, progress.shown_in(sink):
            if not runner.bring_up_to_date(names, keys):
                return 1
        if redo:
            redo.finish()
        if n_orphans := runner.storage.remove_orphans(list(runner.steps)):
            runner.say(
                f"{n_orphans} outputs that killed runs left half written in the object store are removed"
            )
        _show_result(runner, time.monotonic() - began, whole=keys is None)
    return 0


def _chosen_steps(runner: Runner, begin: str | None, shards: str | None) -> list[str]:
    if not shards:
        return list(runner.steps)
    read_alone = [
        name
        for name in ingest_steps(runner.steps)
        if all(runner.steps[source].partitioned for source in runner.steps[name].inputs)
        and not runner.steps[name].level
    ]
    if begin is not None and begin not in read_alone:
        raise PoolSpecError(
            f"--shards together with --from {begin} would mix clusters of an old and a new fit: give one of "
            f"the two (--shards alone ingests; --from {' or '.join(read_alone)} may go with it)"
        )
    return [name for name in read_alone if begin is None or name in descendants(runner.steps, begin)]


def _show_result(runner: Runner, seconds: float, *, whole: bool) -> None:
    pool, storage = runner.spec.name, runner.storage
    if runner.n_made == 0:
        runner.say(f"pool '{pool}' is up to date: nothing to do")
        return
    runner.say(f"pool '{pool}': {runner.n_made} assets in {seconds:.0f} s")
    facts = storage.output("selection").facts()
    if not whole or facts is None:
        return
    summary = facts.summary
    for target, size in summary["targets"].items():
        tokens = f", {summary['tokens'][target]:,} tokens" if "tokens" in summary else ""
        runner.say(f"  target {target}: {size:,} of {summary['n_rows']:,} samples{tokens}")
    runner.say(f"  dataset: {storage.output('balanced_dataset').folder}")
    # In an object store the present version's folder, of which its asset's may hold others for a moment.
    runner.say(f"  release: {storage.output('dataset_release').path('any').parent}")
    runner.say(f"  report:  {storage.output(CurationReport.asset).path(CurationReport.PAGE)}")
