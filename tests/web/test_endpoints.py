"""Operations' endpoints stand before the application, and know whom to trust."""

from __future__ import annotations

import json

import pytest
from tests.web.virtual import run
from tests.web.world import Response, call, http

from tonnage.governor.page import SharedPage
from tonnage.ops.health import Health
from tonnage.stores.cache import Cache
from tonnage.stores.security.monitor import SecurityMonitor
from tonnage.web.doorman import ATTEMPTS
from tonnage.web.endpoints import Endpoints
from tonnage.web.proxy import Proxied
from tonnage.web.respond import ASGIApp, Receive, Scope, Send

LOCAL, REMOTE = ("127.0.0.1", 4711), ("203.0.113.7", 4711)
HERE = {"client": LOCAL}


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


@pytest.mark.usefixtures("own_commons")
@pytest.mark.parametrize(("path", "method"), [("/health", "POST"), ("/security/events", "GET")])
def test_what_is_shown_to_the_application_is_no_guess(path: str, method: str) -> None:
    """Its own clients send its own tokens: none of them is counted as a wrong one of ours."""
    app = endpoints("s3cret")
    for _ in range(2 * ATTEMPTS):
        assert ask(app, path, REMOTE, method, authorization="Bearer its-own").status == 299

    assert ask(app, "/health/memory", REMOTE, authorization="Bearer s3cret").status == 200


def test_websockets_are_the_applications() -> None:
    """Even on these paths."""
    scope = {"type": "websocket", "path": "/health", "headers": [], "client": LOCAL}

    assert run(call(endpoints(), scope)).status == 299


# Security events, and clearing caches.


@pytest.fixture
def cache() -> Cache[int]:
    """Return a cache with something in it."""
    cache: Cache[int] = Cache("endpoints", ttl=None)
    cache.set("answer", 42)
    return cache


@pytest.fixture
def monitor(own_commons: None) -> SecurityMonitor:
    """Return a monitor with an event, in shared memory of its own."""
    monitor = SecurityMonitor()
    monitor.attempt("203.0.113.7", succeeded=False)
    return monitor


@pytest.mark.usefixtures("own_commons")
def test_without_a_monitor_the_path_is_the_applications() -> None:
    """It may have such a route; else it says 404."""
    assert ask(endpoints(), "/security/events", LOCAL).status == 299


@pytest.mark.usefixtures("monitor")
def test_security_events_are_for_operators() -> None:
    """As the details of health, and never for another site's page."""
    app = endpoints("s3cret")
    mine = ask(app, "/security/events", LOCAL)
    theirs = ask(app, "/security/events", LOCAL, origin="https://evil.example")

    assert [event["kind"] for event in json.loads(mine.body)["events"]] == ["login_failed"]
    assert (theirs.status, ask(app, "/security/events", REMOTE).status) == (403, 403)
    assert ask(app, "/security/events", REMOTE, authorization="Bearer s3cret").status == 200
    assert ask(app, "/security/events", LOCAL, "POST").status == 299


def test_clearing_empties_the_caches(cache: Cache[int]) -> None:
    """All of them, or those of a name."""
    app = endpoints()
    other: Cache[int] = Cache("other", ttl=None)
    named = run(call(app, {**http("/cache/clear", "POST"), "query_string": b"name=other"} | HERE))
    assert (json.loads(named.body)["cleared"], other.name) == ("other", "other")
    assert cache.get("answer") == 42

    answer = ask(app, "/cache/clear", LOCAL, "POST")

    assert (answer.status, json.loads(answer.body)) == (
        200,
        {"cleared": None, "detail": "all caches are cleared, in every worker"},
    )
    assert cache.get("answer") is None


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        (REMOTE, {}, 403),
        (LOCAL, {"x_forwarded_for": "203.0.113.7"}, 403),
        (LOCAL, {"origin": "https://evil.example"}, 403),
        (LOCAL, {"sec_fetch_site": "cross-site"}, 403),
        (LOCAL, {"host": "evil.example:8000"}, 403),
        (REMOTE, {"authorization": "Bearer s3cret"}, 200),
        (LOCAL, {"origin": "http://localhost:8000", "host": "localhost:8000"}, 200),
    ],
)
def test_clearing_is_for_operators(
    cache: Cache[int], client: object, headers: dict[str, str], status: int
) -> None:
    """And a page of another site cannot have the browser do it."""
    assert ask(endpoints("s3cret"), "/cache/clear", client, "POST", **headers).status == status
    assert (cache.get("answer") is None) == (status == 200)


def test_reading_clears_nothing(cache: Cache[int]) -> None:
    """A link is followed by whoever prepares a preview."""
    answer = ask(endpoints(), "/cache/clear", LOCAL)

    assert (answer.status, dict(answer.headers)[b"allow"]) == (405, b"POST")
    assert cache.get("answer") == 42


def test_a_cache_that_is_not_there_is_not_cleared(cache: Cache[int]) -> None:
    """A typing mistake must not look like success; the answer says which there are."""
    scope = {**http("/cache/clear", "POST"), "query_string": b"name=nosuch"} | HERE
    answer = run(call(endpoints(), scope))

    assert answer.status == 404
    assert "there is no cache called 'nosuch'" in json.loads(answer.body)["detail"]
    assert f"'{cache.name}'" in json.loads(answer.body)["detail"]


def test_a_query_without_sense_clears_nothing(cache: Cache[int]) -> None:
    """Who misspells the name must not see everything go."""
    scope = {**http("/cache/clear", "POST"), "query_string": b"nane=events"} | HERE

    assert run(call(endpoints(), scope)).status == 400
    assert cache.get("answer") == 42


@pytest.mark.usefixtures("cache", "monitor")
def test_aliases_answer_the_same() -> None:
    """Where they are asked for; else those paths are the application's."""
    app = Endpoints(application, Health(SharedPage(), also_below="/api"), None, also_below="/api")
    paths = {"/api/health": "GET", "/api/health/memory": "GET", "/api/security/events": "GET"}
    paths["/api/cache/clear"] = "POST"

    assert {ask(app, path, LOCAL, method).status for path, method in paths.items()} == {200}
    assert {ask(endpoints(), path, LOCAL, method).status for path, method in paths.items()} == {299}
