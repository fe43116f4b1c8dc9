"""A worker's relay and the supervisor's front desk behind it, in one process and one loop.

    async with Backstage(token="opensesame") as stage:
        answer = await stage.ask("/tonnage/state", REMOTE)

Both are the real ones; between them are real sockets. What the desk shows and does is a test's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

from tests.server.test_actions import Hand
from tests.web.world import Response, call, http

from tonnage.answer import Answer
from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import read_statistics
from tonnage.ops.health import Health
from tonnage.ops.places import METRICS, METRICS_JSON, Places
from tonnage.ops.query import read_query
from tonnage.server.actions import Actions
from tonnage.server.frontdesk import FrontDesk
from tonnage.server.reactor import Reactor
from tonnage.web.endpoints import Endpoints
from tonnage.web.respond import Message, Receive, Scope, Send

LOCAL, REMOTE = ("127.0.0.1", 4711), ("203.0.113.7", 4711)
TOKEN = "opensesame"
PLACES = Places(
    "/ops",
    {"/metrics": METRICS, "/ops/metrics": METRICS, "/ops/metrics.json": METRICS_JSON},
)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what is not for operators."""
    await send({"type": "http.response.start", "status": 299, "headers": []})


class Backstage:
    """Endpoints, desk, and what lies between; an asynchronous context manager."""

    def __init__(self, token: str | None = TOKEN, places: Places = PLACES) -> None:
        self.hand, self.asked = Hand(), list[str]()
        self.is_listening = self.is_taken = True
        self.fails_with: Exception | None = None
        # What the page is, if not its path and query.
        self.page_body: bytes | None = None
        self._stack = ExitStack()
        self._reactor, page = Reactor(), SharedPage()
        port = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        health = Health(page)
        self.desk = FrontDesk(
            self._reactor,
            health,
            admin_token=token,
            listening=port,
            clock=time.monotonic,
            page_path="/ops",
        )
        self._stack.callback(self.desk.close)
        self.desk.offer(Actions(self.hand, lambda: read_statistics(page, 0)))
        paths = ("/ops", "/ops/state", "/ops/page.css", "/ops/login", METRICS, METRICS_JSON)
        self.desk.views.add({path: self._view(path) for path in paths})
        self.app = Endpoints(application, health, token, places=places, send=self._send)

    async def __aenter__(self) -> Self:
        self._turning = asyncio.create_task(self._turn())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._turning.cancel()
        self._stack.close()

    async def ask(
        self,
        path: str,
        client: object = REMOTE,
        method: str = "GET",
        *,
        query: str = "",
        body: str = "",
        **headers: str,
    ) -> Response:
        """Return the answer to one request."""
        if body:
            headers["content_length"] = str(len(body))
        scope = {**http(path, method, **headers), "client": client, "query_string": query.encode()}
        return await call_with(self.app, scope, body.encode("latin-1"))

    def _send(self, fd: int) -> bool:
        if self.fails_with is not None:
            raise self.fails_with
        if self.is_taken:
            self.desk.converse([os.dup(fd)])
        return self.is_taken

    async def _turn(self) -> None:
        while True:
            if self.is_listening:
                self._reactor.wait(0.0)
            await asyncio.sleep(0)

    def _view(self, path: str) -> Callable[[str], Answer]:
        def view(query: str) -> Answer:
            self.asked.append(path)
            if path == "/ops/state":
                read_query(query, "worker")
                return Answer(200, b'{"asked":%d}' % len(self.asked))
            said = self.page_body or f"{path} {query}".encode()
            return Answer(200, said, ((b"x-own", b"1"),), b"text/html")

        return view


async def call_with(app: Any, scope: Scope, body: bytes) -> Response:
    """Send one request with a body, and return all that comes."""
    if not body:
        return await call(app, scope)
    sent: list[Message] = []
    parts = [body[:7], body[7:]]

    async def receive() -> Message:
        # Others have their turn while a body comes.
        await asyncio.sleep(0)
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return Response(tuple(sent))
