"""What a step has freed goes back to the system, though the C library would keep it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from curation_assets.defs.run import memory
from curation_assets.defs.run.memory import anonymous_bytes, memory_given_back

# In a process of its own: what others have freed would count.
HOLD = """
import numpy as np
from curation_assets.defs.run.memory import anonymous_bytes, memory_given_back

kept = []

def hold():
    blocks = [np.ones(50 << 10, np.uint8) for _ in range(4000)]
    kept.append(bytearray(64 << 10))  # at the top of the heap, which cannot shrink below it
    assert anonymous_bytes() - before > 150 << 20

before = anonymous_bytes()
with memory_given_back():
    hold()
print((anonymous_bytes() - before) >> 20)
"""


@pytest.mark.skipif(anonymous_bytes() is None, reason="this system does not say what a process holds")
def test_small_blocks_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLD], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 32


def test_nothing_is_done_for_little(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []
    monkeypatch.setattr(memory, "_give_back", lambda: calls.append(None))
    sizes = iter([100, 100 + (17 << 20), 100, 100 + (15 << 20)])
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
