"""What a step held is given back, in cycles of references or in freed blocks of the C library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from curation_assets.defs.run import memory
from curation_assets.defs.run.memory import anonymous_bytes, memory_given_back

# In a process of its own: what others have freed would count.
HOLD = """
import gc
import numpy as np
from curation_assets.defs.run.memory import anonymous_bytes, memory_given_back

class Held:
    pass

def hold(n_blocks, block_bytes):
    held = Held()
    held.rows, held.itself = [np.ones(block_bytes, np.uint8) for _ in range(n_blocks)], held
    kept.append(bytearray(64))  # at the top of the heap, which cannot shrink below it

gc.disable()
for n_blocks, block_bytes in ((1, 200 << 20), (4000, 50 << 10)):
    kept, before = [], anonymous_bytes()
    with memory_given_back():
        hold(n_blocks, block_bytes)
        assert anonymous_bytes() - before > 150 << 20
    print((anonymous_bytes() - before) >> 20)
"""


@pytest.mark.skipif(anonymous_bytes() is None, reason="this system does not say what a process holds")
def test_large_and_small_blocks_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLD], capture_output=True, text=True, check=True)
    assert all(int(grown) < 32 for grown in done.stdout.split()), done.stdout


def test_nothing_is_done_for_little(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []
    monkeypatch.setattr(memory, "_give_back", lambda: calls.append(None))
    sizes = iter([100, 100 + (65 << 20), 100, 100 + (63 << 20)])
    monkeypatch.setattr(memory, "anonymous_bytes", lambda: next(sizes))
    for _ in range(2):
        with memory_given_back():
            pass
    assert len(calls) == 1


def test_a_system_that_says_nothing_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    assert anonymous_bytes() is None
    with memory_given_back():
        pass
