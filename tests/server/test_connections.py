"""What one client can make a worker hold, and what it gets to read when it asks for too much."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from tests.server.hall import GET, LIMITS, App, Hall, answer, memory, run, settle
from tests.support.waiting import until

from tonnage.server.connections import (
    CONNECTIONS,
    HEADS_BYTES,
    LINGER_BYTES,
    LINGER_SECONDS,
    MOST_EXTRA,
    MOST_PIPELINED,
    UNSENT_SECONDS,
    Cut,
    idle_seconds,
    most_connections,
)
from tonnage.units import KIB, MIB
from tonnage.web.path.cors import Cors
from tonnage.web.respond import Receive, Scope, Send

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def problem(response: bytes) -> dict[str, Any]:
    """Return the members of a refusal."""
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"connection: close" in head
    found: dict[str, Any] = json.loads(body)
    return found


# How many connections, and how long.


@pytest.mark.parametrize(
    ("wished", "descriptors", "limit", "workers", "expected"),
    [
        (None, 1 << 20, 512 * MIB, 1, 1747),
        (None, 1 << 20, 512 * MIB, 4, 436),
        (None, 1 << 20, 64 * MIB, 2, CONNECTIONS[0]),
        (None, 1 << 20, 64 * 1024 * MIB, 2, CONNECTIONS[1]),
        (None, 1024, 4096 * MIB, 1, 880),
        (None, 100, 4096 * MIB, 1, 20),
        (50, 1024, 512 * MIB, 1, 50),
        (5000, 1024, 512 * MIB, 1, 880),
    ],
)
def test_connections_are_as_many_as_memory_and_descriptors_allow(
    wished: int | None, descriptors: int, limit: int, workers: int, expected: int
) -> None:
    """4 % of the limit in all workers; never more than can be opened."""
    assert most_connections(wished, descriptors, limit, workers) == expected


@pytest.mark.parametrize(
    ("used", "level", "seconds"),
    [(79, 0, 60.0), (80, 1, 60.0), (85, 1, 31.0), (90, 2, 2.0), (97, 2, 2.0), (98, 3, 0.0)],
)
def test_idle_connections_are_kept_shorter_as_memory_grows_short(
    used: int, level: int, seconds: float
) -> None:
    """Linearly from WARNING to CRITICAL, and not at all at EXHAUSTED."""
    assert idle_seconds(60.0, memory(used, level)) == pytest.approx(seconds)


def test_idle_time_never_grows_with_shortage() -> None:
    """Where less than the short time is set, it stays."""
    assert idle_seconds(1.0, memory(85, 1)) == 1.0
    assert idle_seconds(1.0, memory(95, 2)) == 1.0


def test_an_idle_connection_is_closed_after_its_time_and_not_before() -> None:
    """A proxy that keeps its connections a little shorter must never meet a closed one."""

    async def story() -> None:
        async with Hall(App(), keep_alive_seconds=5.0) as hall:
            client = await hall.connect(GET)
            assert b"hello" in await client.response()
            await hall.elapse(5.0)
            client.send(GET)
            assert b"hello" in await client.response()
            await hall.elapse(5.0)
            assert not await client.is_closed()
            await hall.elapse(1.5)
            assert await client.is_closed()

    run(story())


@pytest.mark.parametrize(("header", "seconds"), [(memory(92, 2), 3.5), (memory(99, 3), 1.0)])
def test_an_idle_connection_is_closed_sooner_when_memory_is_short(
    header: Any, seconds: float
) -> None:
    """After two seconds at CRITICAL, with the next sweeps at EXHAUSTED; busy ones stay."""

    async def story() -> None:
        app = App()
        async with Hall(app, header, keep_alive_seconds=60.0) as hall:
            idle = await hall.connect(GET)
            await idle.response()
            app.release.clear()
            busy = await hall.connect(GET)
            await hall.elapse(seconds)
            assert await idle.is_closed()
            app.release.set()
            assert b"hello" in await busy.response()

    run(story())


# More connections than there may be.


def test_the_longest_idle_makes_room_for_a_newcomer() -> None:
    """Whoever was just served is kept."""

    async def story() -> None:
        async with Hall(App(), most_connections=3) as hall:
            clients = []
            for _ in range(3):
                clients.append(await hall.connect(GET))
                await clients[-1].response()
                await hall.elapse(0.5)
            clients[0].send(GET)
            await clients[0].response()
            newcomer = await hall.connect(GET)
            assert b"hello" in await newcomer.response()
            assert [await each.is_closed() for each in clients] == [False, True, False]
            assert hall.sweeper.cuts == {Cut.CROWD: 1}

    run(story())


def test_a_crowd_of_busy_connections_leaves_room_for_health() -> None:
    """Nobody who is served is cut; others are told to come back; health is answered."""

    async def story() -> None:
        app = App()
        app.release.clear()
        async with Hall(app, most_connections=3) as hall:
            busy = [await hall.connect(GET) for _ in range(3)]
            late = await hall.connect(GET)
            refused = await late.rest()
            assert problem(refused)["error"] == "too_many_connections"
            assert b"retry-after: 1" in refused
            assert len(app.scopes) == 3
            health = await hall.connect(b"GET /health/ready HTTP/1.1\r\nHost: a\r\n\r\n")
            await settle()
            assert app.scopes[-1]["path"] == "/health/ready"
            app.release.set()
            for client in (*busy, health):
                assert b"hello" in await client.response()

    run(story())


def test_a_crowd_opens_no_websockets() -> None:
    """They would hold the places that are for health."""

    async def story() -> None:
        app = App()
        app.release.clear()
        async with Hall(app, most_connections=1) as hall:
            await hall.connect(GET)
            late = await hall.connect(WEBSOCKET)
            assert problem(await late.rest())["error"] == "too_many_connections"
            assert [each["type"] for each in app.scopes] == ["http"]
            app.release.set()

    run(story())


def test_who_makes_room_without_reading_its_answer_is_cut_as_others_are() -> None:
    """Closing waits for the client to read: who is no longer looked after would stay for ever."""

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"x" * 8 * MIB)

    async def story() -> None:
        async with Hall(large, most_connections=1) as hall:
            await (await hall.connect(GET)).head()
            (unread,) = hall.state.connections
            late = await hall.connect(GET)
            assert problem(await late.rest())["error"] == "too_many_connections"
            assert unread in hall.state.connections
            await hall.elapse(LIMITS.keep_alive_seconds + UNSENT_SECONDS + 2.0)
            assert unread.transport.is_closing()
            assert not hall.state.connections

    run(story())


def test_beyond_that_a_connection_is_answered_and_closed_at_once() -> None:
    """Without reading anything of it."""

    async def story() -> None:
        app = App()
        app.release.clear()
        async with Hall(app, most_connections=1) as hall:
            for _ in range(1 + MOST_EXTRA):
                await hall.connect(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            late = await hall.connect()
            assert problem(await late.rest())["status"] == 503
            assert len(hall.state.connections) == 1 + MOST_EXTRA
            app.release.set()

    run(story())


def test_unfinished_heads_are_bounded_all_together() -> None:
    """A thousand clients with half a head each: those that are at it longest go."""

    async def story() -> None:
        half = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"x" * (31 * KIB)
        async with Hall(App()) as hall:
            clients = [await hall.connect(half) for _ in range(HEADS_BYTES // len(half) + 1)]
            assert hall.sweeper.heads_bytes <= HEADS_BYTES
            assert await clients[0].is_closed()
            assert not await clients[-1].is_closed()
            clients[-1].send(b"\r\n\r\n")
            assert b"hello" in await clients[-1].response()
            for client in clients:
                client.abort()
        assert hall.sweeper.heads_bytes == 0

    run(story())


# Heads.


@pytest.mark.parametrize(
    ("head", "status", "error"),
    [
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000, 431, "too_many_headers"),
        (b"GET / HTTP/1.1\r\na: " + b"b" * MIB, 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"a: %s\r\n" % (b"b" * KIB) * 50, 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"a: %s\r\n" % (b"b" * 700) * 50 + b"\r\n", 431, "headers_"),
        (b"GET /" + b"a" * MIB, 414, "uri_too_long"),
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (GET.replace(b"Host", b"Ho st"), 400, "bad_request"),
    ],
)
def test_a_head_that_is_too_large_is_refused(head: bytes, status: int, error: str) -> None:
    """Before the application hears of it, and before all of it is here."""

    async def story() -> None:
        app = App()
        async with Hall(app) as hall:
            client = await hall.connect(head)
            refused = await client.rest()
            assert refused.startswith(b"HTTP/1.1 %d " % status)
            assert problem(refused)["error"].startswith(error)
            assert app.scopes == []
            assert hall.sweeper.cuts == {Cut.INVALID: 1}
            assert hall.sweeper.heads_bytes == 0

    run(story())


def test_a_head_within_the_limits_is_served_however_it_comes() -> None:
    """A byte at a time; with a large body in the same read; after others in the same read."""

    async def story() -> None:
        app = App(reads=True)
        large = b"Cookie: " + b"c" * 31 * KIB + b"\r\n"
        async with Hall(app, max_headers=3) as hall:
            client = await hall.connect()
            for byte in GET:
                client.send(bytes((byte,)))
                await settle()
            assert b"hello" in await client.response()

            body = b"x" * 200 * KIB
            client.send(POST + large + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert (await client.response()).endswith(b"hello" + body)

            second = b"GET /second HTTP/1.1\r\nHost: a\r\n" + large + b"\r\n"
            both = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + second
            client.send(both[:-KIB])
            await settle()
            client.send(both[-KIB:])
            assert (await client.response()).endswith(body)
            assert (await client.response()).endswith(b"hello")
            assert app.scopes[-1]["path"] == "/second"
            assert not hall.sweeper.cuts

    run(story())


# Several requests on one connection.


def test_blank_lines_are_no_request() -> None:
    """Some clients send one after a body; the connection stays as idle as it was."""

    async def story() -> None:
        async with Hall(App(), keep_alive_seconds=5.0) as hall:
            client = await hall.connect(b"\r\n\r\n")
            client.send(GET)
            assert b"hello" in await client.response()
            await hall.elapse(4.0)
            client.send(b"\r\n")
            await hall.elapse(2.5)
            assert await client.is_closed()
            assert hall.sweeper.cuts == {}

    run(story())


def test_a_protocol_that_is_not_spoken_is_not_changed_to() -> None:
    """The request is answered as it came, which tells the client to go on so."""

    async def story() -> None:
        async with Hall(App()) as hall:
            wish = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            client = await hall.connect(wish)
            assert (await client.response()).startswith(b"HTTP/1.1 200 ")

    run(story())


def test_a_flood_of_pipelined_requests_ends_with_those_that_may_wait() -> None:
    """They are answered, and then the connection is closed: the client asks again."""

    async def story() -> None:
        app = App()
        app.release.clear()
        async with Hall(app) as hall:
            client = await hall.connect(GET * 5000)
            assert len(hall.state.tasks) == 1
            app.release.set()
            answers = await client.rest()
            assert answers.count(b"HTTP/1.1 200") == len(app.scopes) == 1 + MOST_PIPELINED
            assert b"connection: close" in answers.rpartition(b"HTTP/1.1 200")[2]

    run(story())


def test_what_comes_before_nonsense_is_answered() -> None:
    """And nothing else is: an error in the middle of another answer would be read as its body."""

    async def story() -> None:
        app = App()
        app.release.clear()
        async with Hall(app) as hall:
            client = await hall.connect(GET + GET + b"nonsense\r\n\r\n")
            await settle()
            client.send(b"and more of it" * 1000)
            await settle()
            app.release.set()
            answers = await client.rest()
            assert answers.count(b"HTTP/1.1") == answers.count(b"HTTP/1.1 200") == 2
            assert answers.endswith(b"hello")

    run(story())


def test_what_comes_before_a_websocket_is_answered_or_hears_that_its_client_has_gone() -> None:
    """On the WebSocket's connection it would hear of nothing, and might run for ever."""

    async def story() -> None:
        async with Hall(App()) as hall:
            client = await hall.connect(GET + WEBSOCKET)
            answers = await client.rest()
            assert answers.count(b"HTTP/1.1") == answers.count(b"HTTP/1.1 200") == 1
        app = App(reads=True)
        async with Hall(app) as hall:
            app.release.clear()
            client = await hall.connect(GET + WEBSOCKET)
            client.abort()
            await until(lambda: not hall.state.connections)
            app.release.set()
            await until(lambda: app.disconnects == 1)

    run(story())


def test_without_memory_to_begin_it_a_request_is_refused_and_not_called_wrong() -> None:
    """Its client would not try again."""

    class Short(set[asyncio.Task[None]]):
        def add(self, task: asyncio.Task[None]) -> None:
            raise MemoryError

    async def story() -> None:
        async with Hall(App()) as hall:
            tasks, hall.state.tasks = hall.state.tasks, Short()
            refused = await (await hall.connect(GET)).rest()
            assert problem(refused)["status"] == 503
            assert b"retry-after: 2" in refused
            assert not hall.sweeper.cuts
            hall.state.tasks = tasks
            assert b"hello" in await (await hall.connect(GET)).response()

    run(story())


def test_a_queued_request_whose_body_is_nonsense_is_never_begun() -> None:
    """The one before it is answered, and the connection ends."""

    async def story() -> None:
        app = App()
        app.release.clear()
        async with Hall(app) as hall:
            client = await hall.connect(GET + CHUNKED + b"zz\r\n")
            app.release.set()
            answers = await client.rest()
            assert answers.count(b"HTTP/1.1") == len(app.scopes) == 1

    run(story())


# Bodies.


def test_trailers_do_not_become_headers_of_a_running_request() -> None:
    """Whoever has looked at its headers must be able to rely on them."""

    async def story() -> None:
        app = App(reads=True)
        async with Hall(app) as hall:
            client = await hall.connect(CHUNKED)
            headers = list(app.scopes[0]["headers"])
            client.send(b"2\r\nhi\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
            assert (await client.response()).endswith(b"hellohi")
            assert app.scopes[0]["headers"] == headers
            client.send(GET)
            assert b"hello" in await client.response()

    run(story())


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(b"2;x=" + b"y" * MIB, id="a chunk extension"),
        pytest.param(b"2;x=y\r\nhi\r\n0\r\na: " + b"b" * MIB, id="a trailer"),
        pytest.param(b"0\r\n" + b"a: b\r\n" * 100_000, id="trailers"),
    ],
)
def test_chunks_cannot_bring_more_beside_the_body_than_headers_may(framing: bytes) -> None:
    """Neither is memory taken, nor read on for ever."""

    async def story() -> None:
        app = App(reads=True)
        async with Hall(app) as hall:
            client = await hall.connect(CHUNKED)
            client.send(framing)
            assert problem(await client.rest())["status"] in (400, 431)
            assert app.disconnects == 1

    run(story())


def test_small_chunks_are_no_offence() -> None:
    """A body in pieces of one byte is mostly frames."""

    async def story() -> None:
        async with Hall(App(reads=True), max_header_bytes=KIB) as hall:
            client = await hall.connect(CHUNKED)
            for _ in range(20):
                client.send(b"1\r\nx\r\n" * 1000)
                await settle()
            client.send(b"0\r\n\r\n")
            assert (await client.response()).endswith(b"hello" + b"x" * 20_000)

    run(story())


def test_a_body_longer_than_it_says_is_another_request() -> None:
    """Which is nonsense, and the last thing that this connection is asked."""

    async def story() -> None:
        app = App(reads=True)
        async with Hall(app) as hall:
            client = await hall.connect(POST + b"Content-Length: 2\r\n\r\nhi, and more\r\n\r\n")
            answers = await client.rest()
            assert answers.count(b"HTTP/1.1") == 1
            assert answers.endswith(b"hellohi")
            assert b"connection: close" in answers

    run(story())


def test_little_is_read_of_a_body_that_nobody_asks_for() -> None:
    """The client waits, and is not cut for that; nor is its body lost."""

    async def story() -> None:
        app = App(reads=True)
        app.release.clear()
        async with Hall(app) as hall:
            body = b"x" * 8 * MIB
            client = await hall.connect(POST + b"Content-Length: %d\r\n\r\n" % len(body))
            client.send(body)
            for _ in range(20):
                await settle()
            (connection,) = hall.state.connections
            assert len(connection.cycle.body) <= 272 * KIB  # type: ignore[union-attr]
            await hall.elapse(60.0)
            app.release.set()
            assert len(await client.response()) > len(body)

    run(story())


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse without reading the body."""
    await answer(send, b"too large", 413, (b"connection", b"close"))


def test_a_client_can_read_the_refusal_of_a_body_that_it_is_sending() -> None:
    """A connection closed with unread data is reset, and the answer may be lost with it."""

    async def story() -> None:
        async with Hall(refusing) as hall:
            body = b"x" * 8 * MIB
            client = await hall.connect(POST + b"Content-Length: %d\r\n\r\n" % len(body))
            client.send(body)
            await client.drain()
            assert (await client.rest()).endswith(b"too large")

    run(story())


@pytest.mark.parametrize("app", [refusing, App()], ids=["closing", "keeping alive"])
def test_a_body_without_end_is_not_read_for_ever(app: Any) -> None:
    """10 GB in chunks, to an application that reads nothing of it."""

    async def story() -> None:
        async with Hall(app) as hall:
            client = await hall.connect(CHUNKED)
            chunk, sent = b"%x\r\n%b\r\n" % (MIB, b"x" * MIB), 0
            with suppress(ConnectionError):
                while sent < 10 * 1024 * MIB:
                    client.send(chunk)
                    sent += len(chunk)
                    await client.drain()
            # Some of what was sent is on its way in buffers.
            assert sent < LINGER_BYTES + 16 * MIB
            assert hall.sweeper.cuts == {Cut.UNREAD: 1}

    run(story())


@pytest.mark.parametrize("size_bytes", [10 * KIB, 100 * KIB, 400 * KIB, 8 * MIB])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_connection_outlives_an_answer_before_the_body(size_bytes: int, is_chunked: bool) -> None:
    """The rest of the body is dropped, and what follows it on the connection is answered."""
    body = b"x" * size_bytes

    async def story() -> None:
        async with Hall(App()) as hall:
            client = await hall.connect()
            for _ in range(3):
                if is_chunked:
                    client.send(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
                else:
                    client.send(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                client.send(GET)
                assert b"connection: close" not in await client.response()
                await client.drain()
                assert b"HTTP/1.1 200 " in await client.response()
            await hall.elapse(LINGER_SECONDS)
            assert not await client.is_closed()
            assert not hall.sweeper.cuts

    run(story())


def test_a_body_that_is_here_when_its_request_is_answered_is_dropped() -> None:
    """More of it than is read unasked: it neither stays in memory nor stops the reading."""

    async def story() -> None:
        app = App()
        app.release.clear()
        async with Hall(app) as hall:
            client = await hall.connect(POST + b"Content-Length: %d\r\n\r\n" % MIB)
            client.send(b"x" * 900 * KIB)
            for _ in range(20):
                await settle()
            (connection,) = hall.state.connections
            assert connection.cycle.body  # type: ignore[union-attr]
            app.release.set()
            assert b"hello" in await client.response()
            assert not connection.cycle.body  # type: ignore[union-attr]
            await hall.elapse(LINGER_SECONDS / 2)
            client.send(b"x" * 124 * KIB + GET)
            assert b"hello" in await client.response()
            assert not hall.sweeper.cuts

    run(story())


def test_idle_time_counts_from_the_end_of_a_body_that_was_dropped() -> None:
    """Else a connection would be closed the moment that its request is complete."""

    async def story() -> None:
        async with Hall(App(), keep_alive_seconds=4.0) as hall:
            client = await hall.connect(POST + b"Content-Length: 2\r\n\r\n")
            assert b"hello" in await client.response()
            await hall.elapse(LINGER_SECONDS - 1.0)
            client.send(b"hi")
            await settle()
            await hall.elapse(3.5)
            client.send(GET)
            assert b"hello" in await client.response()

    run(story())


def test_a_body_that_turns_to_nonsense_after_its_answer_gets_no_second_one() -> None:
    """The client would take it for the answer to its next request."""

    async def story() -> None:
        async with Hall(App()) as hall:
            client = await hall.connect(CHUNKED)
            assert b"hello" in await client.response()
            client.send(b"zz\r\n")
            assert await client.rest() == b""

            client = await hall.connect(POST + b"Content-Length: 2\r\n\r\n")
            assert b"hello" in await client.response()
            client.send(b"hi" + b"nonsense\r\n\r\n")
            assert problem(await client.rest())["status"] == 400

    run(story())


def test_a_client_that_lingers_is_cut_in_the_end() -> None:
    """Also one that sends a little from time to time."""

    async def story() -> None:
        async with Hall(refusing) as hall:
            client = await hall.connect(POST + b"Content-Length: 1000\r\n\r\n")
            assert (await client.response()).endswith(b"too large")
            for _ in range(round(LINGER_SECONDS)):
                assert hall.state.connections
                client.send(b"x")
                await hall.elapse(1.0)
            await hall.elapse(1.0)
            assert not hall.state.connections

    run(story())


def test_a_refused_client_that_waited_for_100_continue_is_not_kept() -> None:
    """Whether its next bytes are the body or another request, it alone would know."""

    async def story() -> None:
        async with Hall(App()) as hall:
            expecting = POST + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
            client = await hall.connect(expecting)
            assert (await client.rest()).endswith(b"hello")

    run(story())


# What pages of other sites may read.

ORIGIN = b"Origin: https://shop.example\r\n"
ALLOWED = b"access-control-allow-origin: https://shop.example\r\n"


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n" + ORIGIN + b"a: b\r\n" * 200, 431, id="many headers"),
        pytest.param(b"GET / HTTP/1.1\r\n" + ORIGIN + b"a: " + b"b" * MIB, 431, id="large ones"),
        pytest.param(b"GET / HTTP/1.1\r\n" + ORIGIN + b"a: b\r\nc", 408, id="a slow head"),
        pytest.param(POST + ORIGIN + b"Content-Length: 9\r\n\r\nx", 408, id="a slow body"),
        pytest.param(
            POST + ORIGIN + CHUNKED.partition(b"a\r\n")[2] + b"zz\r\n", 400, id="nonsense"
        ),
    ],
)
def test_a_page_of_another_site_can_read_why_it_is_refused(begun: bytes, status: int) -> None:
    """Also where the application is never asked, as long as the page's origin has come."""

    async def story() -> None:
        async with Hall(App(reads=True), cors=Cors(["https://shop.example"])) as hall:
            client = await hall.connect(begun)
            await hall.elapse(11.0)
            refused = await client.rest()
            assert refused.startswith(b"HTTP/1.1 %d " % status)
            assert ALLOWED in refused
            assert problem(refused)["status"] == status

    run(story())


def test_a_page_of_another_site_can_read_that_there_are_too_many_connections() -> None:
    """Except where nothing of its request is read; then everyone is permitted, or nobody."""

    async def story(origins: str, expected: tuple[bytes, bytes]) -> None:
        app = App()
        app.release.clear()
        async with Hall(app, cors=Cors([origins]), most_connections=1) as hall:
            await hall.connect(GET)
            asking = await hall.connect(b"GET / HTTP/1.1\r\n" + ORIGIN + b"\r\n")
            assert expected[0] in await asking.rest()
            for _ in range(MOST_EXTRA):
                await hall.connect(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            unread = await hall.connect()
            assert expected[1] in await unread.rest()
            app.release.set()

    run(story("https://shop.example", (ALLOWED, b"vary: Origin\r\n")))
    run(story("*", (b"access-control-allow-origin: *\r\n",) * 2))


def test_a_refusal_permits_nothing_to_origins_that_are_not_named() -> None:
    """Nor where there is no CORS at all."""

    async def story(cors: Cors | None) -> None:
        async with Hall(App(), cors=cors) as hall:
            client = await hall.connect(b"GET / HTTP/1.1\r\n" + ORIGIN + b"a: b\r\n" * 200)
            assert b"access-control" not in await client.rest()

    run(story(Cors(["https://other.example"])))
    run(story(None))
