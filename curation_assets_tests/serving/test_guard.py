"""Which requests a local server passes on: those of this machine's own pages and programs."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from curation_assets.serving.guard import LoopbackGuard, refusal

MUTATION = "mutation{startSensor{__typename}}"


def scope(
    method: str = "GET", path: str = "/", query: str = "", kind: str = "http", **headers: str
) -> dict[str, Any]:
    sent = {"host": "127.0.0.1:3000"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }


@pytest.mark.parametrize(
    "allowed",
    [
        scope(),
        scope(path="/assets/emoji"),
        scope(host="localhost:3000"),
        scope(host="[::1]:3000"),
        scope(host="localhost"),
        scope(sec_fetch_site="none", sec_fetch_mode="navigate", sec_fetch_dest="document"),
        scope(sec_fetch_site="same-site", sec_fetch_mode="navigate", sec_fetch_dest="document"),
        scope(sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="document"),
        scope("POST", "/graphql", content_type="application/json"),
        scope(
            "POST", "/graphql", content_type="application/json; charset=utf-8", origin="http://127.0.0.1:3000"
        ),
        scope("POST", "/graphql", content_type="Application/JSON", sec_fetch_site="same-origin"),
        scope("GET", "/graphql"),
        scope("GET", "/graphql", query="variables=1"),
        scope(kind="websocket", path="/graphql", origin="http://127.0.0.1:3000"),
        scope(kind="websocket", path="/graphql"),
    ],
)
def test_own_pages_and_programs_are_let_in(allowed: Scope) -> None:
    assert refusal(allowed) is None


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (scope(host="evil.example"), 403),
        (scope(host="evil.example:3000"), 403),
        (scope(host=""), 403),
        (scope(host="127.0.0.1.evil.example"), 403),
        (scope(host="127.0.0.1@evil.example"), 403),
        (scope(host="evil.example@127.0.0.1"), 403),
        (scope(host="127.0.0.1/evil"), 403),
        (scope(host="127.0.0.1:port"), 403),
        (scope(host="127.0.0.1:99999"), 403),
        (scope(host="[::1"), 403),
        (scope(host="0.0.0.0:3000"), 403),
        (scope(origin="http://evil.example"), 403),
        (scope(origin="null"), 403),
        (scope(origin=""), 403),
        (scope(origin="http://127.0.0.1:8000"), 403),
        (scope(origin="http://localhost:3000"), 403),
        (scope("POST", "/graphql", content_type="application/json", origin="http://evil.example"), 403),
        (scope("POST", "/graphql", content_type="application/json", sec_fetch_site="cross-site"), 403),
        (scope(sec_fetch_site="cross-site", sec_fetch_mode="no-cors", sec_fetch_dest="image"), 403),
        (scope(sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="iframe"), 403),
        (scope(sec_fetch_site="same-site", sec_fetch_mode="cors", sec_fetch_dest="empty"), 403),
        (
            scope(
                "POST", content_type="application/json",
                sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="document",
            ),
            403,
        ),
        (scope("GET", "/graphql", query=f"query={MUTATION}"), 405),
        (scope("GET", "/graphql/", query=f"a=b&query={MUTATION}"), 405),
        (scope("GET", "/prefix/graphql", query="qu%65ry=x"), 405),
        (
            scope(
                "GET", "/graphql", query="query=x",
                sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="document",
            ),
            405,
        ),
        (scope("POST", "/graphql"), 415),
        (scope("POST", "/graphql", content_type="text/plain"), 415),
        (scope("POST", "/graphql", content_type="text/plain; a=application/json"), 415),
        (scope("POST", "/graphql", content_type="application/x-www-form-urlencoded"), 415),
        (scope("POST", "/graphql", content_type="multipart/form-data; boundary=x"), 415),
        (scope("POST", "/report_asset_materialization/a"), 415),
        (scope("PUT", "/"), 415),
        (scope(kind="websocket", path="/graphql", origin="http://evil.example"), 403),
        (scope(kind="websocket", path="/graphql", host="evil.example"), 403),
        (scope(kind="websocket", path="/graphql", sec_fetch_site="cross-site"), 403),
    ],
)  # fmt: skip
def test_other_sites_are_refused_with_the_reason(refused: Scope, status: int) -> None:
    found = refusal(refused)
    assert found is not None
    assert found.status == status
    assert found.why


def answers(asked: Scope) -> list[dict[str, Any]]:
    """What a guarded application sends; its own first message says that it was reached."""
    sent: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(LoopbackGuard(app)(asked, receive, send))
    return sent


def test_what_is_passed_on_cannot_be_embedded() -> None:
    [start] = answers(scope())
    assert start["status"] == 200
    assert start["headers"] == [(b"x-frame-options", b"SAMEORIGIN")]


def test_a_refused_request_does_not_reach_the_application() -> None:
    start, body = answers(scope("GET", "/graphql", query=f"query={MUTATION}"))
    assert (start["status"], body["body"]) == (405, b"send GraphQL by POST, as application/json\n")
    start, body = answers(scope(host="evil.example"))
    assert start["status"] == HTTPStatus.FORBIDDEN
    assert b"'evil.example'" in body["body"]
    assert b"through SSH" in body["body"]


def test_a_refused_websocket_is_closed_before_it_opens() -> None:
    [closed] = answers(scope(kind="websocket", path="/graphql", origin="http://evil.example"))
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)


def test_other_messages_pass() -> None:
    assert len(answers({"type": "lifespan"})) == 1
