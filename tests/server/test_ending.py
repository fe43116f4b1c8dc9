"""A response's head goes out with the first of its body, and is never kept for long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.server.hall import GET, Hall, answer, run, settle

from tonnage.units import KIB, MIB
from tonnage.web.respond import Receive, Scope, Send

LENGTH = (b"content-length", b"5")


class Slow:
    """An application that begins its response, and sends the body once released."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.headers = headers
        self.release = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer hello, in two steps."""
        start: Any = {"type": "http.response.start", "status": 200, "headers": self.headers}
        await send(start)
        await self.release.wait()
        await send({"type": "http.response.body", "body": b"hello"})


def test_a_response_that_says_its_length_comes_in_one_piece() -> None:
    """One call of the kernel instead of two; ASGI lets a head wait for its body."""

    async def story() -> None:
        app = Slow(LENGTH)
        async with Hall(app) as hall:
            client = await hall.connect(GET)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.some(), 0.05)
            app.release.set()
            come = await client.some()
            assert come.startswith(b"HTTP/1.1 200 ")
            assert come.endswith(b"\r\n\r\nhello")

    run(story())


def test_a_head_whose_body_is_late_goes_out_with_the_next_sweep() -> None:
    """Whoever waits for it, as a proxy with a time limit does, waits half a second longer."""

    async def story() -> None:
        app = Slow(LENGTH)
        async with Hall(app) as hall:
            client = await hall.connect(GET)
            await hall.elapse(0.5)
            assert (await client.head()).startswith(b"HTTP/1.1 200 ")
            app.release.set()
            assert await client.some() == b"hello"

    run(story())


def test_the_head_of_a_stream_goes_out_at_once() -> None:
    """A page that listens for events is told that it is connected before there are any."""

    async def story() -> None:
        async with Hall(Slow()) as hall:
            client = await hall.connect(GET)
            assert b"transfer-encoding: chunked" in await client.head()

    run(story())


@pytest.mark.parametrize(
    ("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304), (b"GET", 200)]
)
def test_a_response_without_a_body_goes_out(method: bytes, status: int) -> None:
    """And the connection goes on."""

    async def empty(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [LENGTH] if scope["method"] == "HEAD" else []
        if scope["method"] == "GET" and status == 200:
            headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def story() -> None:
        async with Hall(empty) as hall:
            client = await hall.connect()
            for _ in range(2):
                client.send(GET.replace(b"GET", method))
                assert (await client.head()).startswith(b"HTTP/1.1 %d " % status)
            assert not await client.is_closed()

    run(story())


@pytest.mark.parametrize("size_bytes", [1, 16 * KIB, 16 * KIB + 1, MIB])
def test_responses_of_any_size_are_whole_and_in_order(size_bytes: int) -> None:
    """Also of requests that came together."""

    async def numbered(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope["query_string"] * size_bytes)

    async def story() -> None:
        async with Hall(numbered) as hall:
            asked = [GET.replace(b"/ ", b"/?%d " % number) for number in range(3)]
            client = await hall.connect(b"".join(asked))
            for number in range(3):
                response = await client.response()
                assert response.partition(b"\r\n\r\n")[2] == b"%d" % number * size_bytes

    run(story())


def test_an_application_that_fails_before_its_body_has_sent_its_head() -> None:
    """As without the wait: the client learns the status, and that the response is not whole."""

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [LENGTH]})
        raise ValueError("of the application")

    async def story() -> None:
        async with Hall(failing) as hall:
            client = await hall.connect(GET)
            come = await client.rest()
            assert come.startswith(b"HTTP/1.1 200 ")
            assert come.endswith(b"content-length: 5\r\n\r\n")

    run(story())


def test_a_body_that_turns_to_nonsense_after_a_head_does_not_lose_the_head() -> None:
    """The response had begun; it is ended where it is."""

    async def story() -> None:
        async with Hall(Slow(LENGTH)) as hall:
            client = await hall.connect(
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            await settle()
            client.send(b"nonsense\r\n")
            assert (await client.rest()).startswith(b"HTTP/1.1 200 ")

    run(story())
