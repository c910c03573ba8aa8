"""Rounds of inputs, and the limits that hold while they are read."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation_assets_tests.fuzz.harness import INPUTS_OF_A_ROUND, Arena, limited_memory

ROUNDS = math.ceil(int(os.environ.get("CURATION_FUZZ_INPUTS") or INPUTS_OF_A_ROUND) / INPUTS_OF_A_ROUND)
FIRST = int(os.environ.get("CURATION_FUZZ_FIRST") or 0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of each round; `make test` runs round 0."""
    if "arena" in metafunc.fixturenames:
        metafunc.parametrize("arena", range(FIRST, FIRST + ROUNDS), ids="round{}".format, indirect=True)


@pytest.fixture
def arena(request: pytest.FixtureRequest, tmp_path: Path, record_property) -> Iterator[Arena]:
    found = Arena(tmp_path, request.param, request.node.name)
    with limited_memory():
        yield found
    record_property("fuzz_inputs", found.n_inputs)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many inputs were read."""
    found = {
        report.nodeid: value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", [])
        if name == "fuzz_inputs"
    }
    if found:
        terminalreporter.write_line(f"{sum(found.values()):,} inputs were read")
