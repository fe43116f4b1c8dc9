"""The whole path around an application: its order, its time, and what it leaves alone."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.web.path.talk import (
    TEXT,
    Reply,
    ask,
    hello,
    length,
    read_all,
    request,
    say,
    stream,
    talk,
)
from tests.web.virtual import now, run

from tonnage.errors import ConfigError, RequestRefusedError
from tonnage.problem import Problem
from tonnage.rates.limits import Limit
from tonnage.rates.table import RateTable
from tonnage.web.path.middleware import Tonnage
from tonnage.web.path.wsgi import TonnageWSGI
from tonnage.web.respond import ASGIApp, Message, Receive, Scope, Send

SHOP = "https://shop.example"
ORIGIN = {"origin": SHOP}


def waiting(seconds: float) -> ASGIApp:
    """Return an application that answers after so long."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(seconds)
        await say(send)

    return app


# What is left alone.


def test_servers_see_that_it_speaks_asgi() -> None:
    """Some find that out by looking whether the call is a coroutine function."""
    assert inspect.iscoroutinefunction(Tonnage(hello).__call__)


@pytest.mark.parametrize("kind", ["lifespan", "something.new"])
def test_other_scopes_pass_as_they_are(kind: str) -> None:
    """They have neither path nor headers."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    scope = {"type": kind}
    full = Tonnage(
        app,
        rate_limit="1/1h",
        timeout=1,
        proxy_hops=1,
        cors_origins=[SHOP],
        routes={"GET /": {"timeout": 2}},
    )
    run(talk(full, scope))
    assert seen == [{"type": kind}]


def test_with_nothing_on_nothing_changes() -> None:
    """Neither headers nor pieces."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await stream(send, b"1", b"2")

    assert ask(Tonnage(app)) == ask(app)


# Time.


def test_a_request_that_takes_too_long_is_answered_and_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """504, in time."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            seen.append("ended")

    with caplog.at_level(logging.WARNING, "tonnage.requests"):
        reply = ask(Tonnage(app, timeout="2s"), "GET /report")
    assert (reply.status, reply.json()["error"], reply.is_complete) == (504, "timed_out", True)
    assert (seen, reply.error) == (["ended"], None)
    assert 2.0 <= reply.times[0] <= 2.5
    assert "GET /report: the request was not answered within 2 s" in caplog.text


def test_a_response_that_has_begun_is_cut_when_it_stops() -> None:
    """Its time begins anew with each part, and it is ended after the last."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
        for seconds in (1.5, 1.5, 1.5, 50):
            await asyncio.sleep(seconds)
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    reply = ask(Tonnage(app, timeout="2s"))
    assert (reply.status, reply.body, reply.is_complete) == (200, b"xxx", False)
    assert reply.error is None


def test_what_is_done_behind_a_response_has_all_the_time() -> None:
    """As background tasks are."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send)
        await asyncio.sleep(100)
        seen.append("done")

    assert ask(Tonnage(app, timeout=1)).status == 200
    assert seen == ["done"]


async def swallowing(send: Send) -> None:
    """Take the cancellation for something else, and answer."""
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        await say(send, b"nevertheless")


async def raising(send: Send) -> None:
    """Make another error of it, and a 500 of that."""
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        try:
            raise ConnectionError("interrupted") from None
        except ConnectionError:
            await say(send, b"oh", 500)
            raise


async def in_a_group(send: Send) -> None:
    """Have tasks fail while they are cancelled."""

    async def fail() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            raise KeyError("cleaning up")

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        await asyncio.sleep(100)


async def cleaning_up(send: Send) -> None:
    """Need a while to end."""
    try:
        await asyncio.sleep(100)
    finally:
        await asyncio.sleep(1.5)


async def in_a_timeout(send: Send) -> None:
    """Have a time of its own, which is longer."""
    async with asyncio.timeout(50):
        await asyncio.sleep(100)


async def deaf(send: Send) -> None:
    """Go on, whatever happens."""
    for _ in range(5):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            continue
    await stream(send, b"1", b"2")


@pytest.mark.parametrize(
    "handle", [swallowing, raising, in_a_group, cleaning_up, in_a_timeout, deaf]
)
def test_the_client_gets_504_in_time_whatever_the_application_does(
    handle: Callable[[Send], Awaitable[None]],
) -> None:
    """Its answer does not depend on how the application takes its end."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await handle(send)

    async def story() -> tuple[Reply, int, bool]:
        reply = await talk(Tonnage(app, timeout="2s"), request())
        task = asyncio.current_task()
        assert task is not None
        return reply, task.cancelling(), now() < 1000 + 20

    reply, cancelling, is_soon = run(story())
    assert (reply.status, reply.types, reply.error) == (504, ["start", "body"], None)
    assert reply.times[0] <= 2.5
    assert (cancelling, is_soon) == (0, True)


def test_who_is_cancelled_by_the_server_is_cancelled() -> None:
    """That is not the request's fault, and is passed on."""

    async def story() -> tuple[bool, list[Message]]:
        reply = Reply()

        async def send(message: Message) -> None:
            reply.messages.append(message)

        task = asyncio.ensure_future(
            _started(Tonnage(waiting(100), timeout=5)(request(), _never, send))
        )
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled(), reply.messages

    assert run(story()) == (True, [])


async def _started(running: Any) -> None:
    await running


async def _never() -> Message:
    await asyncio.sleep(10_000)
    return {"type": "http.disconnect"}


def test_who_is_cancelled_by_both_is_cancelled() -> None:
    """A server that stops must not wait for a request whose time is over just then."""

    async def story() -> tuple[bool, int]:
        sent: list[Message] = []
        others: list[asyncio.Task[None]] = []

        async def send(message: Message) -> None:
            # Our answer is on its way: the application is being cancelled in this moment.
            sent.append(message)
            others[0].cancel()

        app = Tonnage(waiting(100), timeout=1)
        others.append(asyncio.ensure_future(_started(app(request(), _never, send))))
        await asyncio.wait(others)
        return others[0].cancelled(), sent[0]["status"]

    assert run(story()) == (True, 504)


def test_a_client_that_goes_as_its_time_is_over_does_no_harm() -> None:
    """There may be nobody left to be told; servers raise an OSError then."""

    async def story() -> BaseException | None:
        async def send(message: Message) -> None:
            raise OSError("gone")

        app = Tonnage(waiting(100), timeout=1)
        task = asyncio.ensure_future(_started(app(request(), _never, send)))
        await asyncio.wait({task})
        return task.exception()

    assert run(story()) is None


def test_a_client_that_goes_is_told_to_the_application() -> None:
    """It may end by itself then."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        seen.append((await receive())["type"])

    run(talk(Tonnage(app, timeout=5, max_body="1K"), request(), gone_after=3.0))
    assert seen == ["http.disconnect"]


def test_the_answer_does_not_wait_for_a_thread() -> None:
    """A synchronous route cannot be ended: the client is answered, and it keeps its place."""
    from anyio import to_thread

    may_end = threading.Event()
    borrowed: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await to_thread.run_sync(may_end.wait, 5.0)
        await say(send, b"too late")

    async def story() -> Reply:
        limiter = to_thread.current_default_thread_limiter()
        reply = Reply()

        async def send(message: Message) -> None:
            reply.messages.append(message)
            borrowed.append(int(limiter.borrowed_tokens))

        running = asyncio.ensure_future(
            _started(Tonnage(app, timeout=0.05)(request(), _never, send))
        )
        while not reply.is_complete:  # noqa: ASYNC110 - the application waits for nothing else
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        borrowed.append(int(limiter.borrowed_tokens))
        may_end.set()
        await running
        borrowed.append(int(limiter.borrowed_tokens))
        return reply

    reply = asyncio.run(story())
    assert (reply.status, reply.types) == (504, ["start", "body"])
    assert borrowed == [1, 1, 1, 0]


def test_one_application_serves_one_loop_after_another() -> None:
    """As those of modules are in tests."""
    app = Tonnage(waiting(100), timeout=1)
    assert [ask(app).status for _ in range(3)] == [504] * 3


def test_the_time_of_a_route_is_its_own() -> None:
    """Longer, shorter, or none."""
    routes: dict[str, dict[str, object]] = {
        "GET /slow": {"timeout": 10},
        "GET /ever": {"timeout": "none"},
    }
    app = Tonnage(waiting(5), timeout=1, routes=routes)
    statuses = [ask(app, f"GET {path}").status for path in ("/", "/slow", "/ever")]
    assert statuses == [504, 200, 200]


def test_a_request_that_is_refused_early_leaves_no_deadline_behind() -> None:
    """Its task goes on to other things, and would be cancelled in the middle of them."""

    async def story() -> Reply:
        app = Tonnage(hello, timeout=1, decompress=True)
        reply = await talk(app, request("POST /", {"content-encoding": "unheard-of"}))
        await asyncio.sleep(10)
        return reply

    assert run(story()).status == 415


# Rates.


def limited(app: ASGIApp = hello, limit: str = "2/1h", **options: Any) -> Tonnage:
    """Return the application with a rate limit in a table of its own."""
    return Tonnage(app, rate_limit=limit, rate_store=RateTable(64), **options)


def test_responses_say_what_is_left_and_then_that_nothing_is() -> None:
    """In the headers of the draft, with Retry-After."""
    app = limited()
    first, second, third = (ask(app) for _ in range(3))
    assert first.headers["ratelimit-policy"] == '"default";q=2;w=3600'
    assert second.headers["ratelimit"].startswith('"default";r=0;t=')
    assert (third.status, third.json()["error"]) == (429, "rate_limited")
    assert third.headers["retry-after"] == str(third.json()["retryAfter"]) == "1800"
    assert ask(app, client=("192.0.2.2", 1)).status == 200


def test_refusals_and_errors_say_what_is_left_too() -> None:
    """A client that asks for too much has used one of its requests nevertheless."""
    app = limited(waiting(100), max_body="10", timeout=1)
    assert "ratelimit" in ask(app, "POST /", {"content-length": "11"}).headers
    assert "ratelimit" in ask(app).headers


def test_a_route_has_limits_of_its_own() -> None:
    """It counts apart from all others."""
    app = limited(limit="1/1h", routes={"POST /photos": {"rate_limit": "2/1h"}})
    photos = [ask(app, "POST /photos").status for _ in range(3)]
    assert photos == [200, 200, 429]
    assert [ask(app).status for _ in range(2)] == [200, 429]


def test_a_route_that_says_the_same_as_all_counts_apart_too() -> None:
    """Whoever names a limit for a route means one of its own."""
    app = limited(limit="1/1h", routes={"POST /photos": {"rate_limit": "1/1h"}})
    assert [ask(app).status, ask(app, "POST /photos").status] == [200, 200]
    assert [ask(app).status, ask(app, "POST /photos").status] == [429, 429]


def test_one_limit_for_several_routes_has_a_name() -> None:
    """All that have it count together."""
    login = {"rate_limit": Limit("1/1h", name="login")}
    app = limited(limit="9/1h", routes={"POST /login": login, "POST /reset": login})
    assert [ask(app, f"POST /{path}").status for path in ("login", "reset", "")] == [200, 429, 200]


def test_a_route_without_a_rate_of_its_own_counts_with_all() -> None:
    """To have other limits does not give it another count."""
    app = limited(limit="1/1h", routes={"POST /photos": {"max_body": "5M"}})
    assert [ask(app).status, ask(app, "POST /photos").status] == [200, 429]


@pytest.mark.parametrize("has_extension", [True, False])
def test_a_websocket_is_refused_in_its_own_way(has_extension: bool) -> None:
    """With a response where the server can give one, else by closing it unopened."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    extensions: dict[str, Any] = {"websocket.http.response": {}} if has_extension else {}
    scope = request(type="websocket", extensions=extensions)
    del scope["method"]
    limited_app = limited(app, "1/1h", timeout=1, max_body="1K")
    assert run(talk(limited_app, scope)).messages == [{"type": "websocket.accept"}]
    messages = run(talk(limited_app, scope)).messages
    if has_extension:
        assert messages[0]["status"] == 429
        assert (b"retry-after", b"3600") in messages[0]["headers"]
    else:
        assert messages == [{"type": "websocket.close", "code": 1013}]


def test_behind_proxies_each_client_counts() -> None:
    """As many proxies as are known to be there are believed, and nobody else."""
    app = limited(limit="1/1h", proxy_hops=1)
    asked = ["198.51.100.1", "198.51.100.2", "6.6.6.6, 198.51.100.1"]
    statuses = [ask(app, headers={"x-forwarded-for": chain}).status for chain in asked]
    assert statuses == [200, 200, 429]


def test_a_websocket_counts_for_the_client_behind_its_proxy() -> None:
    """And has an id, as a request has."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send({"type": "websocket.accept"})

    behind = limited(app, "1/1h", proxy_hops=1, request_ids=True)
    outcomes = []
    for address in ("198.51.100.1", "198.51.100.2", "198.51.100.1"):
        scope = request(headers={"x-forwarded-for": address}, type="websocket", extensions={})
        outcomes.append(run(talk(behind, scope)).messages[0]["type"])

    assert outcomes == ["websocket.accept", "websocket.accept", "websocket.close"]
    assert [scope["client"][0] for scope in seen] == ["198.51.100.1", "198.51.100.2"]
    ids = {scope["tonnage.request_id"] for scope in seen}
    assert len(ids) == 2


# CORS.


def test_a_browsers_question_is_answered_first() -> None:
    """It costs no request of a rate, and the application does not see it."""
    app = limited(waiting(100), "1/1h", cors_origins=[SHOP], cors_headers=["x-key"])
    asking = {**ORIGIN, "access-control-request-method": "PUT"}
    for _ in range(3):
        reply = ask(app, "OPTIONS /", asking)
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == SHOP
        assert reply.headers["access-control-max-age"] == "86400"


def test_other_options_requests_are_the_applications() -> None:
    """A browser's question has two headers."""
    assert ask(Tonnage(hello, cors_origins=[SHOP]), "OPTIONS /").body == b"done"


def test_a_refused_question_is_a_problem_in_the_users_shape() -> None:
    """As all refusals are."""
    app = Tonnage(hello, cors_origins=[SHOP], shape=lambda problem: {"why": problem.error})
    asking = {"origin": "https://evil.example", "access-control-request-method": "PUT"}
    assert ask(app, "OPTIONS /", asking).json() == {"why": "cors_refused"}


@pytest.mark.parametrize(
    ("status", "asked", "app"),
    [
        (429, "GET /", limited(limit="1/1h", cors_origins=[SHOP])),
        (413, "POST /", Tonnage(hello, max_body="10", cors_origins=[SHOP])),
        (504, "GET /", Tonnage(waiting(9), timeout=1, cors_origins=[SHOP])),
    ],
)
def test_a_page_of_another_site_may_read_why_it_was_refused(
    status: int, asked: str, app: Tonnage
) -> None:
    """A browser would hide the answer from it otherwise."""
    for _ in range(2):
        reply = ask(app, asked, {**ORIGIN, "content-length": "11"})
    assert reply.status == status
    assert reply.headers["access-control-allow-origin"] == SHOP
    assert reply.headers["vary"] == "Origin"


def test_the_applications_own_cors_stays() -> None:
    """There is one set of headers."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send, headers=[(b"access-control-allow-origin", b"*")])

    reply = ask(Tonnage(app, cors_origins=[SHOP]), headers=ORIGIN)
    assert reply.start["headers"] == [(b"access-control-allow-origin", b"*")]


# Bodies that are packed, and responses that are.


def test_a_packed_body_is_unpacked_within_the_limit() -> None:
    """What counts is what the application gets."""
    import gzip

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        names = [name for name, _ in scope["headers"]]
        assert b"content-encoding" not in names
        await say(send, await read_all(receive))

    app = Tonnage(echo, max_body="1K", decompress=True)
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    assert ask(app, "POST /", headers, [gzip.compress(b"x" * 1000)]).body == b"x" * 1000
    bomb = ask(app, "POST /", headers, [gzip.compress(b"x" * 1025)])
    assert (bomb.status, bomb.json()["maxBytes"]) == (413, 1024)
    assert ask(app, "POST /", headers, [b"no gzip"]).status == 400
    # What the application is not told of may still be on its way.
    packed = gzip.compress(b"x" * 1025)
    bomb = ask(app, "POST /", {**headers, "content-length": str(len(packed))}, [packed])
    assert (bomb.status, bomb.headers["connection"]) == (413, "close")


def test_responses_are_compressed_and_streams_too() -> None:
    """Each piece when it comes."""
    import gzip

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/whole":
            await say(send, b"x" * 9000, headers=[TEXT, length(9000)])
        else:
            await stream(send, b"x" * 4500, b"x" * 4500)

    full = Tonnage(app, max_response="10K", compress=True, timeout=1)
    for path in ("/whole", "/parts"):
        reply = ask(full, f"GET {path}", {"accept-encoding": "gzip"})
        assert reply.headers["content-encoding"] == "gzip"
        assert gzip.decompress(reply.body) == b"x" * 9000
    assert ask(full, "GET /whole").body == b"x" * 9000


def test_a_response_that_the_compressor_still_holds_can_be_replaced() -> None:
    """It has not begun for the client."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [TEXT, length(9000)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await asyncio.sleep(100)

    reply = ask(Tonnage(app, compress=True, timeout=1), headers={"accept-encoding": "gzip"})
    assert (reply.status, reply.types) == (504, ["start", "body"])


# Several at once, and mistakes.


def test_the_users_shape_is_that_of_every_refusal() -> None:
    """Before the application, and in its place."""
    app = limited(
        waiting(9),
        max_body="10",
        timeout=1,
        shape=lambda problem: {"message": problem.detail, "code": problem.error},
    )
    assert ask(app, "POST /", {"content-length": "11"}).json()["code"] == "payload_too_large"
    assert ask(app).json()["code"] == "timed_out"
    assert ask(app).json()["code"] == "rate_limited"


@pytest.mark.parametrize(
    ("asked", "parts", "status"),
    [("POST /", [b"12345"] * 9, 413), ("GET /", [], 504)],
)
def test_one_inside_another_answers_once(asked: str, parts: list[bytes], status: int) -> None:
    """As where the server has limits, and the application brings its own."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(receive)
        await asyncio.sleep(100)

    for inner, outer in (("10", "20"), ("20", "10")):
        inside = Tonnage(app, max_body=inner, timeout=int(inner), max_response="1K", compress=True)
        both = Tonnage(inside, max_body=outer, timeout=int(outer), max_response="1K", compress=True)
        reply = ask(both, asked, {}, parts)
        assert (reply.status, reply.types) == (status, ["start", "body"])
        assert reply.json().get("maxBytes", 10) == 10


def test_a_refusal_in_a_task_group_of_the_application_is_answered() -> None:
    """It arrives in a group of errors."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def refuse() -> None:
            raise RequestRefusedError(Problem(415, "wrong_type", "send a photo"))

        async with asyncio.TaskGroup() as group:
            group.create_task(refuse())

    assert ask(Tonnage(app)).status == 415


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"proxy_hops": -1}, "write a whole number of 0 or more"),
        ({"proxy_hops": "x"}, "write a whole number of 0 or more"),
        ({"proxy_hops": True}, "write a whole number of 0 or more"),
        ({"max_body": 1.5}, "write for example 512M"),
        ({"rate_limit": 100}, "write for example 100/15m"),
        ({"rate_limit": "1/1h", "routes": ["POST /photos"]}, "POST /photos"),
        ({"routes": {"PSOT /photos": {}}}, "POST /photos"),
        ({"compress_level": 0}, "compress_level=0.*from 1 to 9"),
        ({"compress_level": 10}, "compress_level=10.*from 1 to 9"),
        ({"compress_min": "some"}, "compress_min='some'.* write for example 512M"),
        ({"compress_types": "image/x-raw"}, r"\['image/x-raw'\]"),
        ({"compress_types": ["raw"]}, "content type"),
        ({"compress_types": ["image/x-raw; v=1"]}, "content type"),
        ({"decompress_ratio": 0}, "write a number of 1 or more"),
        ({"shape": 3}, "shape=3 is no function"),
        ({"may_compress": True}, "may_compress=True is no function"),
        ({"cors_max_age": -5}, "cors_max_age=-5.* write for example 30s"),
        ({"cors_max_age": "long"}, "write for example 30s"),
        ({"cors_origins": [3]}, "list of texts"),
        ({"cors_origins": 3}, "list of texts"),
        ({"cors_headers": ["Bad\r\nX: y"]}, "cors_headers has .*without spaces"),
        ({"cors_methods": ["GE T"]}, "cors_methods has 'GE T'"),
        ({"cors_expose": ["X Total"]}, "cors_expose has 'X Total'"),
        ({"cors_credentials": True, "cors_expose": ["*"]}, "by name"),
        ({"remove_headers": ["bad header:"]}, "remove_headers has 'bad header:'"),
        ({"remove_headers": ["x-\N{LATIN SMALL LETTER E WITH ACUTE}"]}, "remove_headers has"),
        ({"remove_headers": [""]}, "remove_headers has ''"),
    ],
)
@pytest.mark.parametrize("door", [Tonnage, TonnageWSGI])
def test_what_makes_no_sense_is_refused_with_what_to_write(
    door: Callable[..., object], options: dict[str, Any], said: str
) -> None:
    """Also where the part that it belongs to is off."""
    with pytest.raises(ConfigError, match=said):
        door(hello, **options)


def raw(body: bytes, kind: bytes = b"image/x-raw") -> ASGIApp:
    """Return an application that answers with *body*."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", kind), length(len(body))]
        await say(send, body, headers=headers)

    return app


def test_further_types_and_sizes_are_compressed() -> None:
    """As the options say."""
    accept = {"accept-encoding": "gzip"}
    app = Tonnage(raw(b"x" * 2000), compress=True, compress_types=["Image/X-Raw"])
    assert ask(app, headers=accept).headers["content-encoding"] == "gzip"
    usual = Tonnage(raw(b"x" * 2000), compress=True)
    assert "content-encoding" not in ask(usual, headers=accept).headers
    text = raw(b"x" * 2000, b"text/plain")
    for least, is_packed in (("4K", False), ("2K", False), (2000, True), ("1K", True)):
        reply = ask(Tonnage(text, compress=True, compress_min=least), headers=accept)
        assert ("content-encoding" in reply.headers) is is_packed, least


def test_how_far_bodies_unpack_is_an_option_and_a_routes() -> None:
    """Up to the limit of their size, in any case."""
    body = gzip.compress(bytes(200_000))
    routes = {"POST /logs": {"decompress_ratio": 2000}, "POST /all": {"decompress_ratio": "none"}}
    packed = {"content-encoding": "gzip", "content-length": str(len(body))}

    def statuses(**options: Any) -> list[int]:
        app = Tonnage(hello, max_body="1M", decompress=True, **options)
        return [ask(app, f"POST /{path}", packed, [body]).status for path in ("", "logs", "all")]

    assert statuses() == [413, 413, 413]
    assert statuses(routes=routes) == [413, 200, 200]
    assert statuses(decompress_ratio=2000) == [200, 200, 200]
    assert statuses(decompress_ratio=None, routes={"POST /all": {"max_body": "100K"}}) == [
        *(200, 200, 413)
    ]


def test_a_page_may_read_the_headers_that_it_is_shown() -> None:
    """Besides those of refusals; and how long a permission holds is written as any time is."""
    app = Tonnage(hello, cors_origins=[SHOP], cors_expose=["X-Total"], cors_max_age="1h")
    shown = ask(app, headers=ORIGIN).headers["access-control-expose-headers"]
    assert shown == "Retry-After, RateLimit, RateLimit-Policy, X-Total"
    question = {**ORIGIN, "access-control-request-method": "PUT"}
    assert ask(app, "OPTIONS /", question).headers["access-control-max-age"] == "3600"


@pytest.mark.parametrize(
    "options",
    [
        {"max_body": "many"},
        {"routes": {"photos": {}}},
        {"remove_headers": "server"},
        {"cors_origins": SHOP},
        {"cors_origins": [SHOP], "cors_methods": "GET"},
        {"cors_origins": [SHOP + "/"]},
        {"compress": True, "compress_level": 10},
    ],
)
def test_mistakes_are_found_when_it_is_made(options: dict[str, Any]) -> None:
    """Not with the first request."""
    with pytest.raises(ConfigError):
        Tonnage(hello, **options)
