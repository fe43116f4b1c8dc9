"""Slow clients are cut, and nobody else is."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.server.hall import GET, App, Hall, answer, run, settle

from tonnage.server.connections import UNSENT_SECONDS, Cut
from tonnage.units import KIB, MIB
from tonnage.web.respond import Receive, Scope, Send

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n"


def test_a_head_that_is_not_complete_in_time_is_cut() -> None:
    """However steadily its bytes come: slowloris sends one more now and then."""

    async def story() -> None:
        app = App()
        async with Hall(app, header_seconds=10.0) as hall:
            client = await hall.connect(b"GET / HTTP/1.1\r\nHost: a\r\nX-a: ")
            for _ in range(10):
                await hall.elapse(1.0)
                client.send(b"b")
                await settle()
                assert hall.state.connections
            await hall.elapse(1.0)
            refused = await client.rest()
            assert b"HTTP/1.1 408 " in refused
            assert b"send all of it within 10 s" in refused
            assert hall.sweeper.cuts == {Cut.SLOW_HEAD: 1}
            assert app.scopes == []

    run(story())


def test_a_connection_without_a_word_is_closed_without_one() -> None:
    """Browsers open some ahead, and would show the answer in place of the next page."""

    async def story() -> None:
        async with Hall(App(), header_seconds=10.0) as hall:
            client = await hall.connect()
            await hall.elapse(10.0)
            assert not await client.is_closed()
            await hall.elapse(1.0)
            assert await client.rest() == b""

    run(story())


def test_a_body_that_comes_too_slowly_is_cut() -> None:
    """One byte a second: the client reads why, the application hears that it is gone."""

    async def story() -> None:
        app = App(reads=True)
        async with Hall(app, body_seconds=10.0) as hall:
            client = await hall.connect(POST + b"\r\n")
            for _ in range(10):
                await hall.elapse(1.0)
                client.send(b"x")
                await settle()
                assert app.disconnects == 0
            await hall.elapse(1.0)
            refused = await client.rest()
            assert b"HTTP/1.1 408 " in refused
            assert b"send at least 100 B a second" in refused
            assert app.disconnects == 1
            assert hall.sweeper.cuts == {Cut.SLOW_BODY: 1}

    run(story())


def test_a_fast_beginning_does_not_buy_time() -> None:
    """The rate counts in each stretch of time anew."""

    async def story() -> None:
        app = App(reads=True)
        async with Hall(app, body_seconds=10.0) as hall:
            client = await hall.connect(POST + b"\r\n" + b"x" * 50_000)
            await hall.elapse(22.0)
            assert b"HTTP/1.1 408 " in await client.rest()

    run(story())


def test_a_body_that_comes_fast_enough_is_served() -> None:
    """Even a little faster than the least."""

    async def story() -> None:
        app = App(reads=True)
        async with Hall(app, body_seconds=10.0, min_body_bytes_per_second=100) as hall:
            client = await hall.connect(POST.replace(b"100000", b"6600") + b"\r\n")
            for _ in range(60):
                client.send(b"x" * 110)
                await hall.elapse(1.0)
            assert (await client.response()).endswith(b"x" * 6600)

    run(story())


def test_a_response_that_has_begun_is_cut_with_its_body() -> None:
    """There is no way to say why any more."""

    async def story() -> None:
        async def echo(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while (await receive())["type"] != "http.disconnect":
                pass

        async with Hall(echo) as hall:
            client = await hall.connect(POST + b"\r\n")
            await hall.elapse(11.0)
            assert b"HTTP/1.1 200 " in await client.rest()
            await settle()
            assert not hall.state.tasks

    run(story())


# Those that wait for us.


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(GET, id="without a body"),
        pytest.param(POST + b"Expect: 100-continue\r\n\r\n", id="told to wait with it"),
        pytest.param(POST + b"\r\n" + b"x" * 20 * KIB, id="which we do not read"),
        pytest.param(GET + b"GET /next HTT", id="with half of another request"),
    ],
)
def test_a_client_that_waits_for_the_application_is_not_cut(sent: bytes) -> None:
    """However long that takes, at the gate or in the application."""

    async def story() -> None:
        app = App()
        app.release.clear()
        async with Hall(app) as hall:
            client = await hall.connect(sent)
            await hall.elapse(120.0)
            app.release.set()
            assert b"HTTP/1.1 200 " in await client.response()
            assert not hall.sweeper.cuts

    run(story())


def test_a_loop_that_was_stuck_has_made_nobody_slow() -> None:
    """What clients sent meanwhile is still to be read."""

    async def story() -> None:
        app = App(reads=True)
        async with Hall(app) as hall:
            head = await hall.connect(b"GET / HTTP/1.1\r\nHo")
            body = await hall.connect(POST.replace(b"100000", b"2") + b"\r\n")
            await hall.stall(3600.0)
            head.send(b"st: a\r\n\r\n")
            body.send(b"ok")
            assert b"HTTP/1.1 200 " in await body.response()
            head.abort()
            assert not hall.sweeper.cuts

    run(story())


def test_a_response_may_take_as_long_as_it_likes() -> None:
    """Streams of events are silent for minutes."""

    async def story() -> None:
        go = asyncio.Event()

        async def events(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"one", "more_body": True})
            await go.wait()
            await send({"type": "http.response.body", "body": b"two"})

        async with Hall(events) as hall:
            client = await hall.connect(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await hall.elapse(600.0)
            go.set()
            assert b"two" in await client.rest()

    run(story())


def test_many_that_are_cut_are_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Who attacks must not fill the disk as well."""

    async def story() -> None:
        async with Hall(App()) as hall:
            for _ in range(30):
                await hall.connect(b"GET / HTTP/1.1\r\nHo")
            await hall.elapse(60.0)

    logger = logging.getLogger("tonnage.worker")
    logger.addHandler(caplog.handler)
    run(story())
    logger.removeHandler(caplog.handler)
    said = {record.getMessage() for record in caplog.records}
    assert said == {"30 connection(s) were ended: 30 sent the head of a request too slowly"}


@pytest.mark.parametrize("reads", [True, False])
def test_who_does_not_read_the_end_of_a_response_is_cut(reads: bool) -> None:
    """Closing waits for the client; one that reads, however slowly, gets all of it."""
    body = b"x" * 8 * MIB

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, body)

    async def story() -> None:
        async with Hall(large) as hall:
            client = await hall.connect(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await client.head()
            received = 0
            while reads and (part := await client.some()):
                received += len(part)
                await hall.elapse(UNSENT_SECONDS / 10)
            assert received == (len(body) if reads else 0)
            await hall.elapse(UNSENT_SECONDS + 2.0)
            assert not hall.state.connections

    run(story())
