"""The command of a probe: what it returns, how it fails, and that nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from curation_assets.errors import CurationError
from curation_assets.steps.comparison import probe_command
from curation_assets.steps.comparison.probe_command import describe_command, read_figures, run_command

NAMES = ["small/random/0", "small/level_1/0"]
# Starts a process of its own, writes the numbers of both, and waits.
FAMILY = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "open(sys.argv[1], 'w').write(f'{os.getpid()} {child.pid}')\n"
    "time.sleep(float(sys.argv[2]))\n"
)


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    path = folder / "candidates.json"
    path.write_text("{}")
    return path


def is_running(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_list_is_started_without_a_shell_and_a_text_by_one(candidates: Path, tmp_path: Path) -> None:
    listed = run_command(
        ["echo", "$CURATION_CANDIDATES;", "ls"], candidates, home=tmp_path, timeout_seconds=20
    )
    assert listed == "$CURATION_CANDIDATES; ls\n"
    shell = run_command(
        'echo "$CURATION_CANDIDATES" | tr a-z A-Z', candidates, home=tmp_path, timeout_seconds=20
    )
    assert shell == f"{candidates}\n".upper()
    assert describe_command(["python", "a b"]) == "probe.command runs without a shell: python 'a b'"
    assert describe_command("a | b") == "probe.command runs in the shell /bin/sh: a | b"


def test_it_runs_in_the_project_without_input(candidates: Path, tmp_path: Path) -> None:
    assert run_command("pwd; cat", candidates, home=tmp_path, timeout_seconds=20) == f"{tmp_path}\n"


def test_figures_may_be_written_to_a_file_beside_a_noisy_output(candidates: Path, tmp_path: Path) -> None:
    noisy = """echo epoch 1; echo warning >&2; echo '{"a": 1}' > "$CURATION_FIGURES" """
    assert run_command(noisy, candidates, home=tmp_path, timeout_seconds=20) == '{"a": 1}\n'
    (candidates.parent / "figures.json").write_text("")
    assert run_command("echo 2", candidates, home=tmp_path, timeout_seconds=20) == "2\n"


def test_a_failure_names_the_exit_code_and_the_end_of_the_errors(candidates: Path, tmp_path: Path) -> None:
    many = "for i in $(seq 100); do echo line $i >&2; done; exit 3"
    with pytest.raises(CurationError, match="ended with exit code 3") as failed:
        run_command(many, candidates, home=tmp_path, timeout_seconds=20)
    assert "line 100" in str(failed.value)
    assert "line 80\n" not in str(failed.value)
    with pytest.raises(CurationError, match=r"was ended by SIGKILL\. It wrote nothing to its standard error"):
        run_command("kill -9 $$", candidates, home=tmp_path, timeout_seconds=20)
    with pytest.raises(CurationError, match=r"cannot be started in .*No such file.*PATH"):
        run_command(["no-such-program"], candidates, home=tmp_path, timeout_seconds=20)


def test_a_timeout_ends_the_command_and_its_children(candidates: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FAMILY, str(tmp_path / "pids"), "60"]
    waited: list[float] = []

    def report(seconds: float) -> None:
        waited.append(seconds)

    with pytest.raises(CurationError, match=r"stopped after 2 s: raise probe\.timeout_seconds"):
        run_command(command, candidates, home=tmp_path, timeout_seconds=2, report=report)
    assert waited
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    wait_until(lambda: not any(map(is_running, pids)))


def test_an_interrupt_ends_the_command_and_its_children(candidates: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FAMILY, str(tmp_path / "pids"), "60"]

    def interrupt() -> None:
        wait_until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text() != "")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_command(command, candidates, home=tmp_path, timeout_seconds=60)
    thread.join()
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    wait_until(lambda: not any(map(is_running, pids)))


def test_a_kill_of_the_step_ends_the_command_and_its_children(candidates: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from curation_assets.steps.comparison.probe_command import run_command; "
        "run_command(sys.argv[2:], Path(sys.argv[1]), home=Path('.'), timeout_seconds=60)"
    )
    family = [sys.executable, "-c", FAMILY, str(tmp_path / "pids"), "60"]
    step = subprocess.Popen([sys.executable, "-c", code, str(candidates), *family])
    wait_until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text() != "")
    step.kill()
    step.wait()
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    wait_until(lambda: not any(map(is_running, pids)))


def test_children_do_not_outlive_a_command_that_ends(candidates: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FAMILY, str(tmp_path / "pids"), "0"]
    run_command(command, candidates, home=tmp_path, timeout_seconds=30)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    wait_until(lambda: not any(map(is_running, pids)))


def test_children_that_ignore_the_request_are_killed(
    candidates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_command, "_GRACE_SECONDS", 0.5)
    stubborn = "trap '' TERM; echo $$ > pid; while true; do sleep 0.1; done"
    with pytest.raises(CurationError, match="stopped after 1 s"):
        run_command(stubborn, candidates, home=tmp_path, timeout_seconds=1)
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_figures_are_read_for_every_candidate() -> None:
    text = '{"small/level_1/0": {"loss": 2, "accuracy": 0.5}, "small/random/0": {"accuracy": 0.25, "loss": -1e3}}'
    assert read_figures(text, NAMES) == {
        "small/random/0": {"accuracy": 0.25, "loss": -1000.0},
        "small/level_1/0": {"accuracy": 0.5, "loss": 2.0},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch 1\n{}", "did not return JSON .*it begins with 'epoch 1 {}'.*CURATION_FIGURES"),
        ("", "did not return JSON"),
        ("[" * 100_000, "did not return JSON"),
        ("[1]", "a JSON array, not an object"),
        ("3", "a JSON number, not an object"),
        ("{}", "no figures of 'small/random/0', 'small/level_1/0': return .*CURATION_CANDIDATES"),
        ('{"small/random/0": {"a": 1}}', "no figures of 'small/level_1/0'"),
        ('{"other": {"a": 1}}', "unknown candidates: 'other'; there are 'small/random/0'"),
        ('{"small/random/0": 1, "small/level_1/0": 1}', "returned 1 for 'small/random/0', not an object"),
        ('{"small/random/0": {}, "small/level_1/0": {}}', "returned {} for 'small/random/0'"),
        (
            '{"small/random/0": {"a": 1}, "small/level_1/0": {"a": 1, "b": 2}}',
            "figure 'b' for only one of 'small/random/0' and 'small/level_1/0'",
        ),
        (
            '{"small/random/0": {"a": NaN}, "small/level_1/0": {"a": 1}}',
            "NaN as figure 'a' of 'small/random/0'",
        ),
        ('{"small/random/0": {"a": 1e999}, "small/level_1/0": {"a": 1}}', "Infinity as figure 'a'"),
        ('{"small/random/0": {"a": true}, "small/level_1/0": {"a": 1}}', "true as figure 'a'"),
        ('{"small/random/0": {"a": "1"}, "small/level_1/0": {"a": 1}}', "figures are finite numbers"),
        ('{"small/random/0": {"a": null}, "small/level_1/0": {"a": 1}}', "null as figure 'a'"),
        ('{"small/random/0": {"a": 1' + "0" * 400 + '}, "small/level_1/0": {"a": 1}}', "figures are finite"),
    ],
)
def test_wrong_figures_are_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(CurationError, match=message):
        read_figures(text, NAMES)
