"""Serves the reports of curated pools to browsers on this machine, which do not open files from Dagster's pages.

The only addresses are `/<pool>/<file>` for the page and figures that a stored `curation_report` names. A path of a
request is never joined to a folder.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from curation_assets.errors import PoolSpecError
from curation_assets.locations import is_local
from curation_assets.pools.spec import POOL_NAME_PATTERN
from curation_assets.project import LOOPBACK, REPORT_PORT_VARIABLE
from curation_assets.storage.outputs import Output
from curation_assets.storage.pool_storage import PoolStorage
from curation_assets.storage.tables import CurationReport

_MEDIA_TYPES = {".html": "text/html; charset=utf-8", ".png": "image/png", ".svg": "image/svg+xml"}
# A page of another site that has its name point at this machine is refused by the Host header.
_HOSTS = [LOOPBACK, "localhost"]
_HEADERS = {
    # Samples of a pool come from anywhere: nothing in a report may run, load or send anything.
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def report_app(storage_root: str) -> Starlette:
    """The application for the reports below a storage root."""

    # Not async: it reads files, in a thread.
    def report_file(request: Request) -> Response:
        pool, name = request.path_params["pool"], request.path_params["name"]
        if not POOL_NAME_PATTERN.fullmatch(pool):
            return _missing("no such pool")
        output = PoolStorage(storage_root, pool).output(CurationReport.asset)
        facts = output.facts()
        if facts is None:
            return _missing(
                f"pool '{pool}' has no report: curate it with `curation-assets run --pool {pool}`"
            )
        media_type = _MEDIA_TYPES.get(Path(name).suffix)
        if name not in facts.files or media_type is None or not _lies_in_its_folder(output, name):
            return _missing("no such file of the report")
        headers = {**_HEADERS, "ETag": f'"{facts.files[name]}"'}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        try:
            content = output.path(name).read_bytes()
        except FileNotFoundError:
            return _missing(
                "the report is being made again, or its files are lost: try again, or run the pool"
            )
        return Response(content, media_type=media_type, headers=headers)

    app = Starlette(
        routes=[Route("/{pool}/{name}", report_file, methods=["GET"])],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False)],
    )
    app.router.redirect_slashes = False
    return app


def serve_reports(storage_root: str, listener: socket.socket, *, with_parent: bool = False) -> None:
    """Answer requests until the process is interrupted, or with the process that started it."""
    config = uvicorn.Config(
        report_app(storage_root),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
    )
    server = uvicorn.Server(config)
    if with_parent:
        threading.Thread(target=_end_after, args=(os.getppid(), server), daemon=True).start()
    # Ctrl-C is the way to end it.
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def _end_after(parent: int, server: uvicorn.Server) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    server.should_exit = True


def open_listener(port: int) -> socket.socket:
    """A socket of the loopback interface; port 0 takes a free one.

    Raises:
        PoolSpecError: if the port is taken.
    """
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise PoolSpecError(
            f"cannot serve reports on {LOOPBACK}:{port}: {error.strerror}. If another project serves its reports "
            f"there, set {REPORT_PORT_VARIABLE} to another port, for both runs and the server"
        ) from error


def _missing(why: str) -> Response:
    return PlainTextResponse(why, status_code=404, headers=_HEADERS)


def _lies_in_its_folder(output: Output, name: str) -> bool:
    """Whether a file of this machine is where it seems to be; a link may lead anywhere."""
    path = output.path(name)
    if not is_local(path):
        return True
    return Path(str(path)).resolve().is_relative_to(Path(str(output.folder)).resolve())
