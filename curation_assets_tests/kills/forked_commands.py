"""Commands as forks of one process that has imported everything, so that a kill meets work and not an import."""

from __future__ import annotations

import importlib
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class ForkedCommand:
    """A command that runs in a process group of its own."""

    process: int
    _answers: Any

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit code; the negative number of the signal that ended it; None if it runs on after these seconds."""
        ready, _, _ = select.select([self._answers], [], [], seconds)
        return int(json.loads(self._answers.readline())["code"]) if ready else None


class ForkServer:
    """Starts commands, one at a time; use it as a context.

    What the first command imports, the server imports too, and later commands find it there.
    """

    def __enter__(self) -> ForkServer:
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(60)

    def start(self, environment: dict[str, str], output: Path, *arguments: str) -> ForkedCommand:
        """Start `curation-assets` with these arguments; what it prints is appended to a file."""
        order = {"environment": environment, "output": str(output), "arguments": arguments}
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(f"{json.dumps(order)}\n".encode())
        return ForkedCommand(json.loads(self._server.stdout.readline())["process"], self._server.stdout)

    def run(self, environment: dict[str, str], output: Path, *arguments: str) -> tuple[int | None, float]:
        """Exit code and seconds of a command."""
        began = time.monotonic()
        code = self.start(environment, output, *arguments).wait()
        return code, time.monotonic() - began


def _serve() -> None:
    from curation_assets.cli.main import main

    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _become(order, main, writing)
        os.close(writing)
        print(json.dumps({"process": child}), flush=True)
        with os.fdopen(reading) as names:
            imported = names.read().split()
        _, status = os.waitpid(child, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)
        for name in imported:
            if name not in sys.modules:
                _import(name)


def _become(order: dict[str, Any], main: Any, writing: int) -> None:
    """Be a command, and end with its code; what it imported is told at its end."""
    os.setsid()
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.environ.update(order["environment"])
    os.chdir(order["environment"]["CURATION_HOME"])
    sys.argv = ["curation-assets", *order["arguments"]]
    code = 1
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    with os.fdopen(writing, "w") as names:
        names.write("\n".join(sorted(sys.modules)))
    os._exit(code)


def _import(name: str) -> None:
    """Import a module; some, such as parts of test frameworks, exist only where they were made."""
    try:
        importlib.import_module(name)
    except Exception as error:
        print(f"not imported: {name}: {error!r}", file=sys.stderr)


if __name__ == "__main__":
    _serve()
