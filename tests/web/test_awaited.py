"""Whether anybody waits for a request's answer, as those see it who work for it."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

from tonnage.stores.background import background
from tonnage.web.awaited import Awaited, current
from tonnage.web.respond import Message


class Server:
    """A server's side of a request."""

    def __init__(self) -> None:
        self.disconnected = False

    async def receive(self) -> Message:
        """Tell the application, which does not ask."""
        return {"type": "http.disconnect"}


def test_a_client_that_has_gone() -> None:
    """Is seen by whoever works in the request's context, in any thread."""

    def work() -> None:
        server = Server()
        awaited = Awaited(server.receive)
        assert current() is awaited
        assert not awaited.is_abandoned
        server.disconnected = True
        assert awaited.is_abandoned

    copy_context().run(work)
    assert current() is None


def test_what_has_ended_is_as_it_was_then() -> None:
    """A thread may work for it yet; what begins later is not its own."""

    def work() -> None:
        for is_gone in (False, True):
            server = Server()
            awaited = Awaited(server.receive)
            server.disconnected = is_gone
            awaited.end()
            assert current() is None
            server.disconnected = True
            assert awaited.is_abandoned is is_gone

    copy_context().run(work)


def test_one_within_another() -> None:
    """Whatever a layer sees counts, until it has ended: a connection has many requests."""

    def work() -> None:
        servers = Server(), Server()
        outer, inner = Awaited(servers[0].receive), Awaited(servers[1].receive)
        servers[0].disconnected = True
        assert inner.is_abandoned
        inner.end()
        outer.end()
        assert not Awaited(servers[1].receive).is_abandoned

    copy_context().run(work)


async def test_what_runs_beside_requests_is_no_request_s() -> None:
    """Though one has begun it, as those who take photos do."""

    async def asked() -> Awaited | None:
        return current()

    def begin() -> asyncio.Future[Awaited | None]:
        Awaited(Server().receive)
        return asyncio.wrap_future(background().start(asked()))

    assert await copy_context().run(begin) is None
