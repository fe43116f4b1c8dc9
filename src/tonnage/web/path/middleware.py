"""The limits of a request's path, around any ASGI application and under any server.

    app.add_middleware(Tonnage, max_body="1M", timeout="30s", rate_limit="100/15m")   # Starlette
    app = Tonnage(app, max_body="1M", routes={"POST /photos": {"max_upload": "5M"}})  # any other

In order: a page of another site asks whether it may (CORS); the rate limits; the size that the body
announces; the time; then the application, with its body counted and its response looked at
(:mod:`tonnage.web.path.passage`). All that is on is one wrapper around the request, not one each.

Of several middlewares it is best the outermost: in Starlette, the one added last. Its
``BaseHTTPMiddleware`` would end a response well that was cut inside.

Nothing is on unless it is asked for. Does not admit by memory, supervise or bound connections: that
takes the server, ``tonnage run``, which has the same limits as options.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import RequestRefusedError
from tonnage.web.path.announced import announced_bytes
from tonnage.web.path.deadlines import Deadlines
from tonnage.web.path.frameworks import listen
from tonnage.web.path.parts import (
    make_compression,
    make_cors,
    make_decompression,
    make_limiters,
    make_removed,
)
from tonnage.web.path.passage import Passage, Terms
from tonnage.web.path.problem import Problem, body_too_large, problem_in
from tonnage.web.path.rules import RuleBook, Rules, read_rules
from tonnage.web.proxy import believe
from tonnage.web.respond import respond

if TYPE_CHECKING:
    from tonnage.web.path.problem import Shape
    from tonnage.web.path.rates import LimitsLike
    from tonnage.web.path.ratetable import Store
    from tonnage.web.respond import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("tonnage.requests")

# These have a body only if somebody tries something; then it is counted as it comes.
_WITHOUT_BODY: Final = frozenset(("GET", "HEAD", "OPTIONS"))


class Tonnage:
    """The limits around an application.

    Args:
        app: an ASGI application.
        max_body: the largest body that is taken, such as ``"1M"``.
        max_upload: the same for those that bring files; by default as *max_body*.
        max_response: the largest response.
        timeout: how long until a response begins, and between its parts, such as ``"30s"``.
        rate_limit: requests in a time for each client, such as ``"100/15m"``; see
            :func:`~tonnage.web.path.rates.parse_limits`.
        compress: whether responses are compressed that get smaller by it.
        decompress: whether bodies are unpacked that come packed.
        routes: by route (``"POST /photos"``), which of the limits are different there.
        remove_headers: names of headers that no response is to have.
        compress_level: gzip's, from 1 (fast) to 9 (small).
        may_compress: asked before a response is compressed; says no while memory is short.
        cors_origins: whose pages may call this (see :class:`~tonnage.web.path.cors.Cors`).
        cors_methods: what they may ask for.
        cors_headers: what they may send.
        cors_credentials: whether with cookies.
        cors_max_age: how many seconds a browser remembers a permission.
        proxy_hops: how many proxies in front are yours; the address they saw is the client's.
        shape: makes the JSON of refusals from a :class:`~tonnage.web.path.problem.Problem`.
        rate_store: where rate limits count; by default a table of this process and those that it
            forks from now on.

    Raises:
        ConfigError: a limit makes no sense, or what it needs is not installed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body: str | int | None = None,
        max_upload: str | int | None = None,
        max_response: str | int | None = None,
        timeout: str | float | None = None,
        rate_limit: LimitsLike | None = None,
        compress: bool = False,
        decompress: bool = False,
        routes: Mapping[str, Mapping[str, Any]] | None = None,
        remove_headers: Collection[str] = (),
        compress_level: int = 6,
        may_compress: Callable[[], bool] = lambda: True,
        cors_origins: Collection[str] = (),
        cors_methods: Collection[str] | None = None,
        cors_headers: Collection[str] = (),
        cors_credentials: bool = False,
        cors_max_age: int | None = None,
        proxy_hops: int = 0,
        shape: Shape | None = None,
        rate_store: Store | None = None,
    ) -> None:
        self._app = app
        default = read_rules(
            {
                "max_body": max_body,
                "max_upload": max_upload,
                "max_response": max_response,
                "timeout": timeout,
                "rate_limit": rate_limit,
                "compress": compress,
                "decompress": decompress,
            }
        )
        self._book = RuleBook(default, routes)
        every = self._book.all()
        self._hops = proxy_hops
        self._deadlines = Deadlines()
        self._limiters = make_limiters(every, rate_store)
        self._decompression = make_decompression(every)
        self._cors = make_cors(
            cors_origins, cors_methods, cors_headers, cors_credentials, cors_max_age
        )
        self._shape = shape
        self._terms = Terms(
            removed=make_removed(remove_headers),
            compression=make_compression(every, compress_level, may_compress),
            cors=self._cors,
            shape=shape,
        )
        listen()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer *scope*, or have the application answer it within its limits."""
        kind = scope["type"]
        if kind == "http":
            if self._hops:
                believe(scope, self._hops)
            if self._cors is not None and scope["method"] == "OPTIONS":
                answer = self._cors.preflight(scope, self._shape)
                if answer is not None:
                    await respond(scope, receive, send, answer)
                    return
            rules = self._book.find(scope)
            passage = Passage(self._terms, rules, scope, receive, send)
            problem = self._look(scope, rules, passage)
            if problem is None:
                await self._run(rules, passage)
            else:
                await passage.refuse(problem)
        elif kind == "websocket":
            await self._open(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _look(self, scope: Scope, rules: Rules, passage: Passage) -> Problem | None:
        """Return why *scope* is refused before anything of its body is read; None: it is not."""
        limiter = self._limiters.get(rules.name)
        if limiter is not None:
            said = limiter.check(scope)
            if isinstance(said, Problem):
                return said
            passage.added = said
        if rules.are_limiting_bodies:
            limit, announced = _body_limit(scope, rules)
            passage.body_limit_bytes = limit
            if limit is not None and announced > limit:
                return body_too_large(limit)
        if self._decompression is not None and rules.decompress:
            try:
                passage.unpack(self._decompression)
            except RequestRefusedError as error:
                return error.problem
        return None

    async def _run(self, rules: Rules, passage: Passage) -> None:
        deadline = None
        if rules.timeout_seconds is not None and not rules.stream:
            deadline = self._deadlines.begin(rules.timeout_seconds, passage.time_out)
            passage.deadline = deadline
        try:
            await self._app(passage.scope, passage.receive, passage.send)
            if not passage.is_complete:
                await passage.flush()
        except asyncio.CancelledError:
            if deadline is None or not deadline.is_cancelling_alone:
                raise
        except Exception as error:
            if passage.is_complete:
                raise
            problem = problem_in(error)
            if problem is not None:
                await passage.refuse(problem)
            elif passage.is_refused:
                # What frameworks make of a body that is cut, of a response that goes nowhere.
                logger.debug("the application failed where it was refused", exc_info=True)
            else:
                raise
        finally:
            if deadline is not None and not passage.is_complete:
                deadline.end()
            passage.free()
        if not passage.is_complete:
            await passage.end()

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a WebSocket be opened, unless there were too many requests."""
        if self._hops:
            believe(scope, self._hops)
        limiter = self._limiters.get(self._book.find(scope).name)
        said = limiter.check(scope) if limiter is not None else None
        if isinstance(said, Problem):
            await respond(scope, receive, send, said.answer(self._shape))
        else:
            await self._app(scope, receive, send)


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
