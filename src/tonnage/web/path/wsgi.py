"""The limits of a request's path, around any WSGI application and under any server.

    wsgi_app = TonnageWSGI(wsgi_app, max_body="1M", rate_limit="100/15m")   # Django, and any other
    app.wsgi_app = TonnageWSGI(app.wsgi_app, max_body="1M")                 # Flask

As :class:`~tonnage.web.path.middleware.Tonnage`, in the same order and with the same names, but for
what WSGI has no way for:

* No ``timeout``: a thread cannot be ended.
* A compressed body is unpacked before the application is called, in memory, since most
  applications read a body only where its length is known. So ``decompress`` needs ``max_body``.
* What is left of a refused body is the server's to throw away; an application cannot tell it to
  close the connection.

One object serves all threads. What belongs to a request is made for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tonnage.checks import whole
from tonnage.errors import ConfigError, RequestRefusedError
from tonnage.problem import Problem, body_too_large
from tonnage.web.path.frameworks import listen
from tonnage.web.path.lane import Lane, Lanes
from tonnage.web.path.wsgirequest import (
    CountedInput,
    length_bytes,
    note_client,
    scope_of,
    unpack,
)
from tonnage.web.path.wsgiresponse import WSGIResponse
from tonnage.web.proxy import believe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from tonnage.problem import Shape
    from tonnage.web.path.rates import LimitsLike
    from tonnage.web.path.ratetable import Store
    from tonnage.web.path.rules import Rules
    from tonnage.web.path.wsgirequest import Environ
    from tonnage.web.path.wsgiresponse import StartResponse, WSGIApp
    from tonnage.web.respond import Scope


class TonnageWSGI:
    """The limits around a WSGI application.

    Args:
        app: a WSGI application.
        max_body: the largest body that is taken, such as ``"1M"``.
        max_upload: the same for those that bring files; by default as *max_body*.
        max_response: the largest response.
        timeout: has to be left out; see above.
        rate_limit: requests in a time for each client, such as ``"100/15m"``; see
            :func:`~tonnage.web.path.rates.parse_limits`.
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
        cors_methods: what they may ask for.
        cors_headers: what they may send.
        cors_expose: names of response headers that they may read besides the harmless ones and
            those of refusals.
        cors_credentials: whether with cookies.
        cors_max_age: how long a browser remembers a permission, such as ``"24h"``.
        proxy_hops: how many proxies in front are yours; the address they saw is the client's.
        shape: makes the JSON of refusals from a :class:`~tonnage.problem.Problem`.
        rate_store: where rate limits count; by default the table of all workers of a server, and
            Redis besides where REDIS_URL is set.

    Raises:
        ConfigError: a limit makes no sense, cannot be kept here, or needs what is not installed.
    """

    def __init__(
        self,
        app: WSGIApp,
        *,
        max_body: str | int | None = None,
        max_upload: str | int | None = None,
        max_response: str | int | None = None,
        timeout: str | float | None = None,
        rate_limit: LimitsLike | None = None,
        compress: bool = False,
        decompress: bool = False,
        decompress_ratio: float | None = 20,
        routes: Mapping[str, Mapping[str, Any]] | None = None,
        remove_headers: Collection[str] = (),
        request_ids: bool = False,
        compress_level: int = 6,
        compress_min: str | int = "1K",
        compress_types: Collection[str] = (),
        may_compress: Callable[[], bool] = lambda: True,
        cors_origins: Collection[str] = (),
        cors_methods: Collection[str] | None = None,
        cors_headers: Collection[str] = (),
        cors_expose: Collection[str] = (),
        cors_credentials: bool = False,
        cors_max_age: str | float | None = None,
        proxy_hops: int = 0,
        shape: Shape | None = None,
        rate_store: Store | None = None,
    ) -> None:
        self._app = app
        self._lanes = Lanes(
            {
                "max_body": max_body,
                "max_upload": max_upload,
                "max_response": max_response,
                "timeout": timeout,
                "rate_limit": rate_limit,
                "compress": compress,
                "decompress": decompress,
                "decompress_ratio": decompress_ratio,
            },
            routes,
            remove_headers=remove_headers,
            request_ids=request_ids,
            compress_level=compress_level,
            compress_min=compress_min,
            compress_types=compress_types,
            may_compress=may_compress,
            cors_origins=cors_origins,
            cors_methods=cors_methods,
            cors_headers=cors_headers,
            cors_expose=cors_expose,
            cors_credentials=cors_credentials,
            cors_max_age=cors_max_age,
            shape=shape,
            rate_store=rate_store,
        )
        for lane in self._lanes.all():
            _check(lane.rules)
        self._cors = self._lanes.cors
        self._shape = shape
        self._hops = whole("proxy_hops", proxy_hops, 0)
        if request_ids:
            from tonnage.web.path.requestid import identify

            self._identify = identify
        listen()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the request of *environ*, or have the application answer it within its limits."""
        scope = scope_of(environ)
        if self._hops:
            believe(scope, self._hops)
            note_client(scope, environ)
        lane = self._lanes.find(scope)
        response = WSGIResponse(scope, start_response, lane)
        if lane.request_ids:
            response.add((self._identify(scope),))
            environ["tonnage.request_id"] = scope["tonnage.request_id"]
        if self._cors is not None and scope["method"] == "OPTIONS":
            preflight = self._cors.preflight(scope, self._shape)
            if preflight is not None:
                return response.answer(preflight)
        try:
            self._admit(scope, environ, lane, response)
        except RequestRefusedError as error:
            return response.refuse(error.problem)
        return response.run(self._app, environ)

    def _admit(self, scope: Scope, environ: Environ, lane: Lane, response: WSGIResponse) -> None:
        """Count the request, and make its body ready to be read; or refuse it."""
        rules = lane.rules
        if lane.limiter is not None:
            said = lane.limiter.check_in_thread(scope)
            if isinstance(said, Problem):
                raise RequestRefusedError(said)
            response.add(said)
        if not lane.limits_bodies:
            return
        limit = rules.body_limit_bytes(environ.get("CONTENT_TYPE", "").encode("latin-1"))
        if limit is None:
            return
        if (length_bytes(environ) or 0) > limit:
            raise RequestRefusedError(body_too_large(limit))
        decoder = None
        if lane.decompression is not None:
            decoder = lane.decompression.begin(scope, limit, rules.decompress_ratio)
        if decoder is None:
            environ["wsgi.input"] = response.body = CountedInput(environ["wsgi.input"], limit)
            return
        try:
            unpack(environ, decoder)
        finally:
            decoder.close()


def _check(rules: Rules) -> None:
    if rules.timeout_seconds is not None:
        raise ConfigError(
            f"{rules.name}: a timeout cannot be kept for a WSGI application, since a thread cannot"
            " be ended: use the server's own (gunicorn --timeout), or tonnage run --timeout, which"
            " answers in time and waits for the thread"
        )
    if rules.decompress and rules.max_body_bytes is None:
        raise ConfigError(
            f"{rules.name}: decompress needs max_body too: WSGI bodies are unpacked in memory"
        )
