"""Blocks of shards for several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from curation_assets.cli.workers import split_blocks
from curation_assets.graph.waves import contiguous_blocks

ORDERED = [f"{i:02}" for i in range(31)]


def test_blocks_by_hand() -> None:
    assert split_blocks([("00", "09")], ORDERED, 2) == [("00", "04"), ("05", "09")]
    assert split_blocks([("00", "00"), ("05", "07")], ORDERED, 2) == [
        ("00", "00"),
        ("05", "06"),
        ("07", "07"),
    ]


@given(st.sets(st.integers(0, 30), min_size=1), st.integers(1, 8))
def test_chunks_cover_exactly_the_blocks(wanted: set[int], n_chunks: int) -> None:
    chunks = split_blocks(contiguous_blocks(ORDERED, {f"{i:02}" for i in wanted}), ORDERED, n_chunks)
    covered = [i for first, last in chunks for i in range(int(first), int(last) + 1)]
    assert sorted(covered) == sorted(wanted)
    assert len(covered) == len(set(covered))


def test_a_worker_ends_with_the_process_that_started_it_and_not_before() -> None:
    code = (
        "import time; from curation_assets.cli.workers import die_with_parent; "
        "die_with_parent(); time.sleep({})"
    )
    environment = {**os.environ, "CURATION_LIFELINE": "stdin"}
    worker = subprocess.Popen([sys.executable, "-c", code.format(60)], stdin=subprocess.PIPE, env=environment)
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(timeout=20) == -signal.SIGTERM, "as if told to end, so that it closes its run"
    worker = subprocess.Popen(
        [sys.executable, "-c", code.format(0.1)], stdin=subprocess.PIPE, env=environment
    )
    assert worker.wait(timeout=20) == 0
