"""The limits of a request's path, around any ASGI application and under any server.

    app.add_middleware(Tonnage, max_body="1M", timeout="30s", rate_limit="100/15m")   # Starlette
    app = Tonnage(app, max_body="1M", routes={"POST /photos": {"max_upload": "5M"}})  # any other

In order: a page of another site asks whether it may (CORS); the rate limits; the size that the body
announces; the time; then the application, with its body counted and its response looked at
(:mod:`tonnage.web.path.passage`). All that is on is one wrapper around the request, not one each.

Of several middlewares it is best the outermost: in Starlette, the one added last. Its
``BaseHTTPMiddleware`` would end a response well that was cut inside.

At the end of the application's lifespan, batch writers store what they hold, since under many
servers nobody else has them do it (:mod:`tonnage.stores.finishing`).

Nothing is on unless it is asked for. Does not admit by memory, supervise or bound connections: that
takes the server, ``tonnage run``, which has the same limits as options.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from tonnage.errors import RequestRefusedError
from tonnage.problem import Problem, body_too_large, problem_in
from tonnage.web.awaited import Awaited
from tonnage.web.path.deadlines import Deadlines
from tonnage.web.path.heads import announced_bytes
from tonnage.web.path.limited import Limited
from tonnage.web.path.passage import Passage
from tonnage.web.proxy import believe
from tonnage.web.respond import ASGIApp, respond, was_cut

if TYPE_CHECKING:
    from tonnage.rules import Rules
    from tonnage.web.path.lane import Lane
    from tonnage.web.path.ratelimit import Said
    from tonnage.web.respond import Message, Receive, Scope, Send

logger = logging.getLogger("tonnage.requests")

# These have a body only if somebody tries something; then it is counted as it comes.
_WITHOUT_BODY: Final = frozenset(("GET", "HEAD", "OPTIONS"))
# What was awaited and has answered nothing says so by this.
_GO_ON: Final = object()


class Tonnage(Limited[ASGIApp]):
    """The limits around an application.

    Args:
        app: an ASGI application.
        max_body: the largest body that is taken, such as ``"1M"``.
        max_upload: the largest body that brings files; by default as *max_body*.
        max_response: the largest response.
        timeout: how long until a response begins, and between its parts, such as ``"30s"``.
        rate_limit: requests in a time for each client, such as ``"100/15m"``; see
            :func:`~tonnage.rates.limits.parse_limits`.
        compress: whether responses are compressed that get smaller by it.
        decompress: whether bodies are unpacked that come packed.
        decompress_ratio: how many times larger than sent they may become (from 64 KB on); None:
            any number of times, up to the limit of their size.
        routes: by route (``"POST /photos"``), which of the limits are different there.
        remove_headers: names of headers that no response is to have.
        request_ids: whether each request gets an id, from its X-Request-ID or a new one; see
            :mod:`tonnage.web.path.requestid`.
        compress_level: gzip's, from 1 (fast) to 9 (small).
        compress_min: bodies known to be smaller are not compressed.
        compress_types: content types to compress besides the usual ones.
        may_compress: asked before a response is compressed; says no while memory is short.
        cors_origins: whose pages may call this (see :class:`~tonnage.web.path.cors.Cors`).
        cors_methods: which methods these pages may use.
        cors_headers: which request headers they may send.
        cors_expose: names of response headers that they may read besides the harmless ones and
            those of refusals.
        cors_credentials: whether their requests may carry cookies.
        cors_max_age: how long a browser remembers a permission, such as ``"24h"``.
        proxy_hops: how many proxies in front are yours; the address they saw is the client's.
        shape: makes the JSON of refusals from a :class:`~tonnage.problem.Problem`.
        rate_store: where rate limits count; by default the table of all workers of a server, and
            Redis besides where REDIS_URL is set.

    Raises:
        ConfigError: a limit makes no sense, or what it needs is not installed.
    """

    def _prepare(self) -> None:
        self._deadlines = Deadlines()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer *scope*, or have the application answer it within its limits."""
        if scope["type"] != "http":
            await self._open(scope, receive, send)
            return
        lane = self._lanes.only or self._lanes.find(scope)
        passage = Passage(lane, scope, receive, send)
        instead = self._instead(scope, lane, passage)
        if instead is not None and await instead is not _GO_ON:
            return
        awaited = Awaited(passage.receive)
        # What follows in every request is done here: a coroutine of its own costs 1 µs.
        if lane.timeout_seconds is not None:
            self._deadlines.begin(passage, lane.timeout_seconds)
        try:
            await self._app(passage.scope, passage.receive, passage.send)
            if not passage.is_complete:
                await passage.flush()
        except asyncio.CancelledError:
            if not passage.is_cancelling_alone:
                raise
        except Exception as error:
            if not await _is_refused(passage, error):
                raise
        finally:
            awaited.end()
            if passage.holds_memory or not passage.is_complete:
                passage.leave()
        if not passage.is_complete:
            await passage.end()
            if passage.is_cut:
                was_cut.set(True)

    def _instead(
        self, scope: Scope, lane: Lane, passage: Passage, *, is_counted: bool = False
    ) -> Awaitable[object] | None:
        """Return what answers *scope* before anything of its body is read; None: nothing does.

        Where limits count beyond this machine, that has to be awaited, and may come to nothing.
        """
        if not is_counted:
            if self._hops:
                believe(scope, self._hops)
            if lane.request_ids:
                passage.added = (self._identify(scope),)
            if lane.cors is not None and scope["method"] == "OPTIONS":
                answer = lane.cors.preflight(scope, lane.shape)
                if answer is not None:
                    return passage.answer(answer)
            if lane.limiter is not None:
                said = lane.limiter.check(scope)
                if not isinstance(said, tuple):
                    return self._refuse_or_wait(said, scope, lane, passage)
                passage.added += said
        if lane.limits_bodies:
            limit, announced = _body_limit(scope, lane.rules)
            passage.body_limit_bytes = limit
            if limit is not None and announced > limit:
                return passage.refuse(body_too_large(limit))
        if lane.decompression is not None:
            try:
                passage.unpack(lane.decompression)
            except RequestRefusedError as error:
                return passage.refuse(error.problem)
        return None

    async def _refuse_or_wait(
        self, said: Problem | Awaitable[Said], scope: Scope, lane: Lane, passage: Passage
    ) -> object:
        """Answer with what the rate limits say; go on where they let the request in."""
        known = said if isinstance(said, Problem) else await said
        if isinstance(known, Problem):
            await passage.refuse(known)
            return None
        passage.added += known
        instead = self._instead(scope, lane, passage, is_counted=True)
        return _GO_ON if instead is None else await instead

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a WebSocket be opened, unless there were too many requests; and all other things."""
        if scope["type"] == "lifespan":
            send = _finished_before(send)
        if scope["type"] == "websocket":
            if self._hops:
                believe(scope, self._hops)
            lane = self._lanes.find(scope)
            if lane.request_ids:
                self._identify(scope)
            said = lane.limiter.check(scope) if lane.limiter is not None else None
            if isinstance(said, Awaitable):
                said = await said
            if isinstance(said, Problem):
                await respond(scope, receive, send, said.answer(lane.shape))
                return
        await self._app(scope, receive, send)


def _finished_before(send: Send) -> Send:
    """Return *send*, which says that a lifespan has ended once writers have stored what they hold.

    After the application's own end, which may add something.
    """

    async def send_finished(message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            from tonnage.stores.finishing import finish

            await finish()
        await send(message)

    return send_finished


async def _is_refused(passage: Passage, error: Exception) -> bool:
    """Return whether the application failed because of a limit; then that is answered."""
    if passage.is_complete:
        return False
    problem = problem_in(error)
    if problem is not None:
        await passage.refuse(problem)
    elif passage.is_refused:
        # What frameworks make of a body that is cut, of a response that goes nowhere.
        logger.debug("the application failed where it was refused", exc_info=True)
    return problem is not None or passage.is_refused


def _body_limit(scope: Scope, rules: Rules) -> tuple[int | None, int]:
    """Return how large the body may be, and how large it says it is (0: it does not say)."""
    if scope["method"] in _WITHOUT_BODY:
        return rules.max_body_bytes, 0
    kind, announced = b"", 0
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value
        elif name == b"content-length":
            announced = announced_bytes(value) or 0
    return rules.body_limit_bytes(kind), announced
