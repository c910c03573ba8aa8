"""`curation-assets prepare`: writes the raw shards of the demo pools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from curation_assets.cli.terminal import TerminalSink, say
from curation_assets.project import open_home

Write = Callable[[Path, Callable[[int, int], None]], list[Path]]


def prepare_openmoji(folder: Path | None, limit: int | None) -> None:
    """Render the OpenMoji drawings into WebDataset shards; existing shards are kept."""
    from curation_assets.demo.openmoji import write_openmoji_pool

    def write(target: Path, report: Callable[[int, int], None]) -> list[Path]:
        return write_openmoji_pool(target, limit=limit, on_progress=report)

    _prepare(write, folder, "emoji", "render_emoji", "images")


def prepare_docstrings(folder: Path | None, limit: int | None) -> None:
    """Write docstrings of the installed packages to JSON Lines files; an existing pool is kept."""
    from curation_assets.demo.docstrings import DEFAULT_LIMIT, write_docstring_pool

    def write(target: Path, report: Callable[[int, int], None]) -> list[Path]:
        return write_docstring_pool(target, limit=limit or DEFAULT_LIMIT, on_progress=report)

    _prepare(write, folder, "docstrings", "gather_docstrings", "docstrings")


def _prepare(write: Write, folder: Path | None, pool: str, task: str, what: str) -> None:
    target = folder or open_home().folder / "data" / "raw" / pool
    console = Console()
    with TerminalSink(console) as sink:
        sink.begin(task, 1)

        def report(done: int, total: int) -> None:
            sink.update(task, done / max(1, total), f"{done:,} of {total:,} {what}")

        shards = write(target, report)
        sink.end(task)
    say(console, f"{len(shards)} shards in {target}")
