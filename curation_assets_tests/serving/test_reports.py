"""Reports over HTTP: what is served, and that nothing else is, whatever a client asks for."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from curation_assets.errors import PoolSpecError
from curation_assets.project import find_home, report_url
from curation_assets.serving.reports import open_listener, report_app
from curation_assets.storage.outputs import Recipe
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets_tests.projects import environment_of, run_command

PAGE, FIGURE, SECRET = b"<h1>Report</h1>", b"\x89PNG figure", b"a secret"


@dataclass(frozen=True)
class Server:
    """A running server, and the folder that its storage root lies in."""

    port: int
    folder: Path

    def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Status, body and headers; the path is sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = {"Host": f"127.0.0.1:{self.port}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return response.status, response.read(), response.headers
        finally:
            connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    storage = PoolStorage(str(folder / "curated"), "emoji")
    with storage.output("curation_report").writing(Recipe({}, {}, "1")) as writer:
        writer.text("curation_report.html", PAGE.decode())
        writer.file("comparison.png").write_bytes(FIGURE)
        writer.text("notes.txt", "no figure")
        writer.text("linked.png", "to be replaced by a link")
    with storage.output("selection").writing(Recipe({}, {}, "1")) as writer:
        writer.text("curation_report.html", "of another asset")
    report = folder / "curated" / "emoji" / "curation_report"
    (folder / "secret.png").write_bytes(SECRET)
    (folder / "secret.html").write_bytes(SECRET)
    (report / "stray.png").write_bytes(SECRET)
    (report / "linked.png").unlink()
    (report / "linked.png").symlink_to(folder / "secret.png")
    listener = open_listener(0)
    app = report_app(str(folder / "curated"))
    running = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield Server(listener.getsockname()[1], folder)
    running.should_exit = True
    thread.join(10)
    listener.close()


def test_the_page_and_its_figures_are_served(server: Server) -> None:
    status, body, headers = server.ask("/emoji/curation_report.html")
    assert (status, body, headers["Content-Type"]) == (200, PAGE, "text/html; charset=utf-8")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    status, body, headers = server.ask("/emoji/comparison.png")
    assert (status, body, headers["Content-Type"]) == (200, FIGURE, "image/png")
    assert server.ask("/emoji/comparison.png", If_None_Match=headers["ETag"])[:2] == (304, b"")
    status, body, headers = server.ask("/emoji/curation_report.html", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(PAGE)))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/emoji",
        "/emoji/",
        "/emoji/facts.json",
        "/emoji/notes.txt",
        "/emoji/stray.png",
        "/emoji/linked.png",
        "/emoji/selection/curation_report.html",
        "/other/curation_report.html",
        "/../secret.html",
        "/emoji/../../secret.html",
        "/emoji/../../../secret.png",
        "/emoji/..%2f..%2f..%2fsecret.png",
        "/emoji/%2e%2e/%2e%2e/%2e%2e/secret.png",
        "/emoji/%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret.png",
        "/emoji/..%252f..%252fsecret.png",
        "/emoji/..%5c..%5csecret.png",
        "/..%2fcurated%2femoji/curation_report.html",
        "/%2e%2e/curation_report.html",
        "/./curation_report.html",
        "//etc/passwd",
        "/emoji/%2fetc%2fpasswd",
        "/emoji/curation_report.html%00.png",
        "/emoji/curation_report.html/",
        "/emoji/selection%2fcuration_report.html",
        "/EMOJI/curation_report.html",
        "file:///etc/passwd",
    ],
)
def test_nothing_else_is_served(server: Server, path: str) -> None:
    status, body, _ = server.ask(path)
    assert status in (400, 404)
    assert SECRET not in body
    assert b"root:" not in body
    assert b"curation_report" not in body, "no listing"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_reports_are_only_read(server: Server, method: str) -> None:
    assert server.ask("/emoji/curation_report.html", method)[0] == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:3001", 200),
        ("127.0.0.1", 200),
        ("attacker.example", 400),
        ("attacker.example:3001", 400),
        ("127.0.0.1.attacker.example", 400),
        ("localhost.attacker.example", 400),
        ("127.0.0.1@attacker.example", 400),
        ("0.0.0.0", 400),
        ("", 400),
    ],
)
def test_only_names_of_this_machine_are_answered(server: Server, host: str, status: int) -> None:
    answer = server.ask("/emoji/curation_report.html", Host=host)
    assert answer[0] == status
    assert (answer[1] == PAGE) == (status == 200)


def test_it_listens_to_this_machine_only(server: Server) -> None:
    with open_listener(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        port = listener.getsockname()[1]
        with pytest.raises(PoolSpecError, match=f"{port}.*CURATION_REPORT_PORT"):
            open_listener(port)
        environment = {"CURATION_HOME": str(server.folder), "CURATION_REPORT_PORT": str(port)}
        environment |= {"CURATION_STATE": str(server.folder), "DAGSTER_HOME": str(server.folder)}
        code, output = run_command(environment, "serve")
        assert (code, "cannot serve reports" in output) == (2, True)


def test_a_report_that_is_lost_is_said_to_be(tmp_path: Path) -> None:
    from starlette.requests import Request

    storage = PoolStorage(str(tmp_path), "emoji")
    with storage.output("curation_report").writing(Recipe({}, {}, "1")) as writer:
        writer.text("curation_report.html", "")
    (tmp_path / "emoji" / "curation_report" / "curation_report.html").unlink()
    endpoint = report_app(str(tmp_path)).routes[0].endpoint
    scope = {"type": "http", "headers": [], "method": "GET"}
    answers = []
    for pool in ("emoji", "web"):
        names = {"pool": pool, "name": "curation_report.html"}
        answers.append(endpoint(Request(scope | {"path_params": names})).body.decode())
    assert "files are lost" in answers[0]
    assert "`curation-assets run --pool web`" in answers[1]


def test_the_port_comes_from_the_environment() -> None:
    with environment_of({"CURATION_REPORT_PORT": "4000"}):
        assert report_url("emoji") == "http://127.0.0.1:4000/emoji/curation_report.html"
        assert find_home().report_port == 4000
    with environment_of({"CURATION_REPORT_PORT": ""}):
        assert report_url("emoji") == "http://127.0.0.1:3001/emoji/curation_report.html"
    for wrong in ("0", "65536", "http", "-1", "80 "):
        with (
            environment_of({"CURATION_REPORT_PORT": wrong}),
            pytest.raises(PoolSpecError, match=f"CURATION_REPORT_PORT is '{wrong}': give a port"),
        ):
            find_home()


def test_the_command_ends_with_the_process_that_started_it(server: Server) -> None:
    with open_listener(0) as listener:
        port = listener.getsockname()[1]
    environment = {
        "CURATION_HOME": str(server.folder),
        "CURATION_STORAGE": str(server.folder / "curated"),
        "CURATION_STATE": str(server.folder / "state"),
        "CURATION_REPORT_PORT": str(port),
    }
    command = f"{sys.executable} -m curation_assets.cli.main serve --with-parent & exec sleep 600"
    with subprocess.Popen(["bash", "-c", command], env={**os.environ, **environment}) as parent:
        try:
            wait_until(lambda: answers(port))
            assert Server(port, server.folder).ask("/emoji/comparison.png")[:2] == (200, FIGURE)
        finally:
            parent.kill()
    wait_until(lambda: not answers(port))


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
