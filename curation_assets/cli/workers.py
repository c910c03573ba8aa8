"""Several processes for one partitioned wave: each runs a block of shards as a Dagster run of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from curation_assets.storage.claims.claim import CLAIM_VARIABLE, claim_held

if TYPE_CHECKING:
    from curation_assets.defs.run.wave_runner import WaveRunner

LIFELINE_VARIABLE = "CURATION_LIFELINE"
"""Set to `stdin` for workers: they end when their standard input closes."""
_GRACE_SECONDS = 5.0
_CHUNKS_PER_WORKER = 2
"""More chunks even out shards of unequal size, at one start-up each."""


def split_blocks(
    blocks: Sequence[tuple[str, str]], ordered: Sequence[str], n_chunks: int
) -> list[tuple[str, str]]:
    """Cut contiguous blocks into about `n_chunks` contiguous chunks of about equal length.

    Args:
        blocks: first and last shard of each.
        ordered: all shards in Dagster's order of partitions.
        n_chunks: wanted in all.
    """
    position = {key: i for i, key in enumerate(ordered)}
    spans = [(position[first], position[last] + 1) for first, last in blocks]
    length = max(1, -(-sum(stop - start for start, stop in spans) // n_chunks))
    return [
        (ordered[begin], ordered[min(begin + length, stop) - 1])
        for start, stop in spans
        for begin in range(start, stop, length)
    ]


def run_workers(
    runner: WaveRunner, names: Sequence[str], blocks: Sequence[tuple[str, str]], n_processes: int
) -> bool:
    """Run the blocks in several processes; True if all succeeded.

    The processes share the cores, and end when this one does, however it ends.

    Raises:
        dagster.DagsterExecutionInterruptedError: if this process is told to end; the others have ended too.
    """
    chunks = split_blocks(blocks, runner.driver.ordered_shards(), n_processes * _CHUNKS_PER_WORKER)
    threads = max(1, (os.cpu_count() or 1) // n_processes)
    claim = claim_held(runner.driver.storage.folder)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        LIFELINE_VARIABLE: "stdin",
        CLAIM_VARIABLE: claim.token if claim else "",
    }
    started: list[subprocess.Popen[str]] = []
    with ThreadPoolExecutor(n_processes) as pool:
        try:
            return all(pool.map(lambda chunk: _work(runner, names, chunk, environment, started), chunks))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in started:
                process.terminate()
            raise


def _work(
    runner: WaveRunner,
    names: Sequence[str],
    chunk: tuple[str, str],
    environment: dict[str, str],
    started: list[subprocess.Popen[str]],
) -> bool:
    from curation_assets.defs.run.tags import forced_text

    driver = runner.driver
    command = [
        sys.executable, "-m", "curation_assets.cli.main", "work", "--pool", driver.spec.name,
        "--steps", ",".join(names), "--first", chunk[0], "--last", chunk[1],
        "--again", forced_text(driver.forced) if driver.forced else "",
        "--parent", runner.parent.run_id if runner.parent else "", "--wave", runner.wave,
    ]  # fmt: skip
    label = chunk[0] if chunk[0] == chunk[1] else f"{chunk[0]}..{chunk[1]}"
    with subprocess.Popen(  # noqa: S603 - our own command line
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        started.append(process)
        for line in process.stdout or ():
            runner.say(f"[{label}] {line.rstrip()}", None)
    return process.returncode == 0


def die_with_parent() -> None:
    """End this process as soon as its parent ends, which closes our standard input."""
    if os.environ.get(LIFELINE_VARIABLE) != "stdin":
        return

    def watch() -> None:
        # Not sys.stdin: its lock, held by a waiting thread, would abort the interpreter's shutdown.
        while os.read(0, 1024):
            pass
        # As if told to end, so that the run is closed and gives its slots back; a step that does not react is cut off.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
