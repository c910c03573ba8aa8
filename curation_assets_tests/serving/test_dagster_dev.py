"""`dagster dev` never starts a web server without the guard."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from dagster_webserver.webserver import DagsterWebserver

from curation_assets.errors import CurationError
from curation_assets.serving import dagster_dev
from curation_assets.serving.guard import LoopbackGuard
from curation_assets.serving.webserver import GuardedWebserver


def test_the_web_server_is_replaced_and_the_daemon_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(dagster_dev, "_start_process", lambda command, **_: started.append(command))
    dagster_dev.start_guarded(["python", "-m", "dagster_webserver", "--port", "3000"], pass_fds=[3])
    dagster_dev.start_guarded(["python", "-m", "dagster._daemon", "run"])
    assert started == [
        ["python", "-m", "curation_assets.serving.webserver", "--port", "3000"],
        ["python", "-m", "dagster._daemon", "run"],
    ]
    for other in (["python", "-m", "dagster_ui"], ["dagster-webserver", "-p", "3000"]):
        with pytest.raises(CurationError, match="open to every page"):
            dagster_dev.start_guarded(other)
    assert len(started) == 2


def test_this_release_of_dagster_starts_its_processes_by_the_replaced_name() -> None:
    source = inspect.getsource(dagster_dev.dev.dev_command_impl)
    assert source.count("open_ipc_subprocess(") == 2
    assert "Popen(" not in source


def test_the_guard_comes_first() -> None:
    server = GuardedWebserver.__new__(GuardedWebserver)
    first, *others = server.build_middleware()
    assert first.cls is LoopbackGuard
    assert [entry.cls for entry in others] == [
        entry.cls for entry in DagsterWebserver.build_middleware(server)
    ]
