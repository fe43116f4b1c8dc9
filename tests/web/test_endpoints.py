"""Operations' endpoints stand before the application, and know whom to trust."""

from __future__ import annotations

import json

import pytest
from tests.web.virtual import run
from tests.web.world import Response, call, http

from tonnage.governor.page import SharedPage
from tonnage.ops.health import Health
from tonnage.web.endpoints import Endpoints
from tonnage.web.proxy import Proxied
from tonnage.web.respond import ASGIApp, Receive, Scope, Send

LOCAL, REMOTE = ("127.0.0.1", 4711), ("203.0.113.7", 4711)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as an application would that has routes of the same paths."""
    await send({"type": "http.response.start", "status": 299, "headers": []})


def ask(app: ASGIApp, path: str, client: object, method: str = "GET", **headers: str) -> Response:
    """Return the answer to one request."""
    return run(call(app, {**http(path, method, **headers), "client": client}))


def endpoints(token: str | None = None, path: str = "/health") -> ASGIApp:
    """Return the endpoints before the application."""
    return Endpoints(application, Health(SharedPage(), path=path), token)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/health", "GET", 200),
        ("/health", "HEAD", 200),
        ("/health", "POST", 299),
        ("/health/ready", "GET", 503),
        ("/health/memory", "GET", 200),
        ("/healthy", "GET", 299),
        ("/", "GET", 299),
    ],
)
def test_health_is_answered_before_the_application(path: str, method: str, status: int) -> None:
    """By path, for GET and HEAD; the rest is the application's."""
    assert ask(endpoints(), path, LOCAL, method).status == status


def test_head_has_the_headers_and_no_body() -> None:
    """As HTTP asks."""
    answer = ask(endpoints(), "/health", LOCAL, "HEAD")

    assert answer.body == b""
    assert int(dict(answer.headers)[b"content-length"]) > 0


def test_the_path_can_be_moved() -> None:
    """For an application that has a route of its own there."""
    app = endpoints(path="/ops/health")

    assert ask(app, "/ops/health/ready", LOCAL).status == 503
    assert ask(app, "/health", LOCAL).status == 299


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        (LOCAL, {}, 200),
        (REMOTE, {}, 403),
        (None, {}, 403),
        (LOCAL, {"x_forwarded_for": "127.0.0.1"}, 403),
        (REMOTE, {"authorization": "Bearer s3cret"}, 200),
        (LOCAL, {"x_forwarded_for": "1.2.3.4", "authorization": "Bearer s3cret"}, 200),
        (REMOTE, {"authorization": "Bearer wrong"}, 403),
    ],
)
def test_details_are_for_those_who_are_trusted(
    client: object, headers: dict[str, str], status: int
) -> None:
    """A token, or this machine without a proxy in between."""
    assert ask(endpoints("s3cret"), "/health/memory", client, **headers).status == status


def test_a_spoofed_address_opens_nothing() -> None:
    """Behind a trusted proxy the peer itself is asked, not what was forwarded."""
    app = Proxied(endpoints(), hops=1)

    spoofed = ask(app, "/health/memory", REMOTE, x_forwarded_for="127.0.0.1")
    through_local_proxy = ask(app, "/health/memory", LOCAL, x_forwarded_for="203.0.113.7")

    assert spoofed.status == through_local_proxy.status == 403
    assert "memory" not in json.loads(ask(app, "/health", REMOTE).body)


def test_websockets_are_the_applications() -> None:
    """Even on these paths."""
    scope = {"type": "websocket", "path": "/health", "headers": [], "client": LOCAL}

    assert run(call(endpoints(), scope)).status == 299
