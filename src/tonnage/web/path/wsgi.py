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

from typing import TYPE_CHECKING

from tonnage.errors import ConfigError, RequestRefusedError
from tonnage.problem import Problem, body_too_large
from tonnage.web.path.limited import Limited
from tonnage.web.path.wsgirequest import (
    CountedInput,
    length_bytes,
    note_client,
    scope_of,
    unpack,
)
from tonnage.web.path.wsgiresponse import WSGIApp, WSGIResponse
from tonnage.web.proxy import believe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tonnage.rules import Rules
    from tonnage.web.path.lane import Lane
    from tonnage.web.path.wsgirequest import Environ
    from tonnage.web.path.wsgiresponse import StartResponse
    from tonnage.web.respond import Scope


class TonnageWSGI(Limited[WSGIApp]):
    """The limits around a WSGI application.

    Its arguments are those of :class:`~tonnage.web.path.middleware.Tonnage`, but for these.

    Args:
        app: a WSGI application.
        timeout: has to be left out; see above.

    Raises:
        ConfigError: a limit makes no sense, cannot be kept here, or needs what is not installed.
    """

    def _prepare(self) -> None:
        for lane in self._lanes.all():
            _check(lane.rules)

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
        if lane.cors is not None and scope["method"] == "OPTIONS":
            preflight = lane.cors.preflight(scope, lane.shape)
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
