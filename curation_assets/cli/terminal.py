"""Progress on the console: moving bars in a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line as it is: long lines are not broken, and brackets are not markup."""
    console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)


class TerminalSink:
    """Shows each step as a bar (see `curation_assets.progress.ProgressSink`)."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}

    def __enter__(self) -> TerminalSink:
        if self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description:<18}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[detail]}", style="dim"),
                console=self._console,
            )
            self._bars.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bars:
            self._bars.stop()

    def begin(self, task: str, total: int) -> None:
        """See `ProgressSink`."""
        self._began[task] = time.monotonic()
        if self._bars:
            self._tasks[task] = self._bars.add_task(task, total=total, detail="")

    def update(self, task: str, done: float, detail: str) -> None:
        """See `ProgressSink`."""
        if self._bars:
            self._bars.update(self._tasks[task], completed=done, detail=detail)

    def line(self, text: str) -> None:
        """See `ProgressSink`."""
        if not self._bars:
            say(self._console, text)

    def end(self, task: str) -> None:
        """See `ProgressSink`."""
        if not self._bars:
            seconds = time.monotonic() - self._began[task]
            self._console.print(f"{task:<18} done in {seconds:.1f} s", highlight=False)
