"""Lets only this machine's own pages and programs talk to a local web server.

A server on 127.0.0.1 is within reach of every page that the user's browser has open: pictures, forms and scripts of any
site can send requests to it, and a name that is made to point at 127.0.0.1 lets them read the answers (DNS rebinding).
Dagster's server trusts whoever reaches it, and GraphQL mutations work by GET.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_POLICY_VIOLATION = 1008
"""Close code of a WebSocket, RFC 6455 section 7.4.1."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not passed on."""

    status: HTTPStatus
    why: str


def refusal(scope: Scope) -> Refusal | None:
    """Why a request or WebSocket must not be passed on; None if it may.

    Args:
        scope: of ASGI, type `http` or `websocket`.
    """
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if _host_name(host) not in LOOPBACK_HOSTS:
        return Refusal(
            HTTPStatus.FORBIDDEN,
            f"this server answers to 127.0.0.1 and localhost, not to '{host}'. From another machine, forward the port "
            f"through SSH and open it as localhost",
        )
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return Refusal(HTTPStatus.FORBIDDEN, f"requests of pages from '{origin}' are refused")
    is_request = scope["type"] == "http"
    is_graphql = scope["path"].rstrip("/").endswith("/graphql")
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        # A link on another page may open the UI; nothing may embed it or fetch from it.
        opens_page = (
            is_request
            and scope["method"] == "GET"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        if not opens_page:
            return Refusal(HTTPStatus.FORBIDDEN, "requests of other sites are refused")
    if not is_request:
        return None
    if (
        is_graphql
        and scope["method"] == "GET"
        and "query" in parse_qs(scope["query_string"].decode("latin-1"))
    ):
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "send GraphQL by POST, as application/json")
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if scope["method"] not in _READING_METHODS and content_type != "application/json":
        return Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"send the content as application/json, not as '{content_type}'",
        )
    return None


class LoopbackGuard:
    """ASGI middleware that answers what `refusal` names, and forbids other pages to embed the rest."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif refused := refusal(scope):
            if scope["type"] == "websocket":
                await receive()
                await send(
                    {"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refused.why[:100]}
                )
            else:
                await PlainTextResponse(refused.why + "\n", refused.status)(scope, receive, send)
        else:
            await self._app(scope, receive, _unembeddable(send))


def _unembeddable(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["X-Frame-Options"] = "SAMEORIGIN"
        await send(message)

    return sender


def _host_name(host: str) -> str | None:
    """The name or address in a Host header; None if it is not one."""
    try:
        parts = urlsplit(f"//{host}")
        # Reading the port raises ValueError if it is none.
        is_plain = parts.port is None or parts.port > 0
    except ValueError:
        return None
    return (
        parts.hostname if is_plain and parts.netloc == host and "@" not in host and not parts.path else None
    )
