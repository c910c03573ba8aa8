"""The benchmark of cards runs from end to end, in small, on the processor."""

from __future__ import annotations

from pathlib import Path

import pytest

SMALL = (
    "--device cpu --parts all --pools clustered --rows 600 --dimensions 8 --clusters 20 --fit-rows 200 --coarse 20 "
    "--level-1 300 8 10 --steps 1 --iterations 3"
)


def test_every_part_without_kernels_prints_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent.parent / "benchmarks"))
    import gpu

    gpu.main(SMALL.split())
    words = capsys.readouterr().out
    for part in (
        "Fits of 200 x 8",
        "Hierarchies of 200",
        "iterations from the same 20 rows",
        "Split level of 2,000",
    ):
        assert part in words
    assert "same bytes: True" in words
    assert "| streamed |" in words
    assert "Level 1 of 300 x 8, k = 10, 3 iterations at most, 1 resampling steps; rows resident" in words
