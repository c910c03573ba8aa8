"""Runs the command of a probe, with everything it starts, and checks the figures it returns."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from curation_assets.errors import CurationError

CANDIDATES_VARIABLE: Final = "CURATION_CANDIDATES"
"""Tells the command the path of the list of candidates."""
FIGURES_VARIABLE: Final = "CURATION_FIGURES"
"""Tells the command a path where it may write the figures instead of printing them."""
FIGURES_FILE: Final = "figures.json"
_POLL_SECONDS, _GRACE_SECONDS = 0.1, 5.0
_TAIL_BYTES, _TAIL_LINES, _MOST_BYTES = 16_384, 20, 64 * 2**20
_NAMED = 5
_GUARD = "import os, signal, sys; os.read(0, 1); os.killpg(int(sys.argv[1]), signal.SIGKILL)"

Figures = Mapping[str, Mapping[str, float]]
"""Candidate -> figure -> value."""


def describe_command(command: str | Sequence[str]) -> str:
    """The command and how it is started, for the log."""
    if isinstance(command, str):
        return f"probe.command runs in the shell /bin/sh: {command}"
    return f"probe.command runs without a shell: {shlex.join(command)}"


def run_command(
    command: str | Sequence[str],
    candidates: Path,
    *,
    home: Path,
    timeout_seconds: float,
    report: Callable[[float], None] = lambda _: None,
) -> str:
    """Run the command until it ends; then, and after a timeout or an interrupt, all that it started is ended too.

    So it is if this process is killed.

    Args:
        command: a list is started as it is, a text by `/bin/sh -c`.
        candidates: path of the list of candidates, in a folder that the command may write to.
        home: working folder of the command.
        timeout_seconds: after which it is stopped.
        report: gets the seconds since the start, ten times a second.

    Returns:
        The file of figures if the command wrote one, else its standard output.

    Raises:
        CurationError: if it cannot be started, takes too long or fails, with the end of its standard error.
    """
    folder = candidates.parent
    figures, output, errors = folder / FIGURES_FILE, folder / "stdout.txt", folder / "stderr.txt"
    environment = {
        **os.environ,
        CANDIDATES_VARIABLE: str(candidates),
        FIGURES_VARIABLE: str(figures),
    }
    # Files, because a pipe that nobody reads would stop a command that prints much.
    with output.open("wb") as out, errors.open("wb") as err:
        try:
            process = subprocess.Popen(  # noqa: S603 - the pool's YAML names it, and nothing else can
                command if isinstance(command, str) else list(command),
                shell=isinstance(command, str),
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        except OSError as error:
            raise CurationError(
                f"probe.command cannot be started in {home}: {error}. Name a program on the PATH, or a path from the "
                f"project's folder"
            ) from error
        try:
            with _guarded(process):
                code = _wait(process, timeout_seconds, report)
        finally:
            _end_session(process)
    if code is None:
        raise CurationError(
            f"probe.command was stopped after {timeout_seconds:,.0f} s: raise probe.timeout_seconds, or let it do less"
            f"{_tail(errors)}"
        )
    if code:
        raise CurationError(f"probe.command {_ending(code)}{_tail(errors)}")
    written = figures if figures.exists() and figures.stat().st_size else output
    if written.stat().st_size > _MOST_BYTES:
        raise CurationError(
            f"probe.command wrote {written.stat().st_size:,} bytes where a JSON object of figures belongs: print only "
            f"that, or write it to the file that {FIGURES_VARIABLE} names"
        )
    return written.read_text(encoding="utf-8", errors="replace")


def read_figures(text: str, candidates: Sequence[str]) -> dict[str, dict[str, float]]:
    """The figures of every candidate, from what the command returned.

    Raises:
        CurationError: if the text is not a JSON object of candidates and their figures, a candidate is unknown or
            missing, candidates have different figures, or a figure is not a finite number.
    """
    remedy = (
        f'return {{"candidate": {{"figure": number}}}} for all that the file of {CANDIDATES_VARIABLE} names'
    )
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        begin = " ".join(text[:200].split())
        raise CurationError(
            f"probe.command did not return JSON ({error}); it begins with {begin!r}. Print only the figures, or write "
            f"them to the file that {FIGURES_VARIABLE} names"
        ) from None
    if not isinstance(found, dict):
        raise CurationError(f"probe.command returned a JSON {_kind(found)}, not an object: {remedy}")
    if unknown := [name for name in found if name not in candidates]:
        raise CurationError(
            f"probe.command returned figures of unknown candidates: {_named(unknown)}; there are {_named(candidates)}"
        )
    if missing := [name for name in candidates if name not in found]:
        raise CurationError(f"probe.command returned no figures of {_named(missing)}: {remedy}")
    first = found[candidates[0]]
    checked: dict[str, dict[str, float]] = {}
    for name in candidates:
        figures = found[name]
        if not isinstance(figures, dict) or not figures:
            raise CurationError(
                f"probe.command returned {json.dumps(figures)[:80]} for '{name}', not an object of figures: {remedy}"
            )
        if set(figures) != set(first):
            other = sorted(set(figures) ^ set(first))
            raise CurationError(
                f"probe.command returned figure {_named(other)} for only one of '{candidates[0]}' and '{name}': "
                f"return the same figures for every candidate"
            )
        checked[name] = {figure: _number(name, figure, figures[figure]) for figure in sorted(figures)}
    return checked


@contextmanager
def _guarded(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the session of a process if this one is killed inside the block, which leaves no time for anything else.

    A small process waits for the end of its input, which comes when this one ends, however it does.
    """
    guard = subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, "-I", "-S", "-c", _GUARD, str(process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        # Before its input closes, so that it does not end anything any more.
        guard.kill()
        guard.communicate()


def _wait(
    process: subprocess.Popen[bytes], timeout_seconds: float, report: Callable[[float], None]
) -> int | None:
    """Exit code; None if the time is over."""
    began = time.monotonic()
    while (code := process.poll()) is None:
        passed = time.monotonic() - began
        if passed > timeout_seconds:
            return None
        report(passed)
        time.sleep(_POLL_SECONDS)
    return code


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """End whatever runs in the session of a process: first by request, then by force."""
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            # The session of the process is named after it; it is gone once all its members are.
            os.killpg(process.pid, number)
            until = time.monotonic() + _GRACE_SECONDS
            while time.monotonic() < until:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(_POLL_SECONDS)
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)


def _ending(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _tail(errors: Path) -> str:
    """The end of the standard error, for messages."""
    with errors.open("rb") as file:
        file.seek(max(0, errors.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
    text = "\n".join(line for line in lines if line.strip())
    return f". The end of its standard error:\n{text}" if text else ". It wrote nothing to its standard error"


def _number(candidate: str, figure: str, value: Any) -> float:
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            number = float(value)
    if not math.isfinite(number):
        raise CurationError(
            f"probe.command returned {json.dumps(value)[:80]} as figure '{figure}' of '{candidate}', but figures are "
            f"finite numbers"
        )
    return number


def _kind(value: Any) -> str:
    kinds = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + more
