"""Tables fit the console, and no number is cut."""

from __future__ import annotations

import io
import re

import pytest
from click.testing import CliRunner
from rich.console import Console

from curation_assets.cli.main import cli
from curation_assets.cli.tables import Sheet
from curation_assets_tests.cli.test_plan import PAPER

WIDTHS = [60, 80, 100, 160]


def shown(sheet: Sheet, width: int) -> list[str]:
    buffer = io.StringIO()
    sheet.show(Console(file=buffer, width=width))
    return buffer.getvalue().splitlines()


def wide_sheet() -> Sheet:
    sheet = Sheet(
        ("level", "stage", "rows", "inputs", "times", "disk"),
        texts=("stage",),
        less_needed=("times",),
    )
    sheet.add("1", "a stage with a name of many words", "743,000,000", "7.4e+17", "12,345", "1.3 TB")
    return sheet


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 120])
def test_no_line_is_too_long_and_no_number_is_cut(width: int) -> None:
    lines = shown(wide_sheet(), width)
    table = [line for line in lines if not line.startswith("left out")]
    assert max(len(line.rstrip()) for line in table) <= width
    text = "\n".join(lines)
    assert "…" not in text
    gone = lines[-1].partition(": ")[2].split(", ") if lines[-1].startswith("left out") else []
    values = {"rows": "743,000,000", "inputs": "7.4e+17", "times": "12,345", "disk": "1.3 TB", "level": "1"}
    for header, value in values.items():
        assert (value in text) == (header not in gone), (header, gone)
    assert "level" not in gone


def test_a_column_that_is_less_needed_goes_first() -> None:
    assert shown(wide_sheet(), 55)[-1] == "left out at 55 columns: times"
    assert not shown(wide_sheet(), 80)[-1].startswith("left out")


def test_markup_takes_no_room() -> None:
    sheet = Sheet(("asset", "up to date"), texts=("asset",))
    sheet.add("raw_pool", "[green]12/12[/]")
    assert any("12/12" in line for line in shown(sheet, 25))
    assert not any("left out" in line for line in shown(sheet, 25))


@pytest.mark.parametrize("width", WIDTHS)
def test_the_plan_of_the_papers_pool_fits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    words = CliRunner().invoke(cli, ["plan", *PAPER], catch_exceptions=False).output
    table = words[: words.index("\ntime ")]
    assert max(map(len, table.splitlines())) <= width or "left out" in table
    assert "…" not in words
    assert re.search(r"743,000,000 .*10,000,000", table)
