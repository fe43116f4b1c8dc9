"""The live page and the metrics on the application's port: who may, and what the supervisor says.

A worker knows little of what operators ask: it lets them in (:mod:`tonnage.ops.trust`), passes the
question on (:mod:`tonnage.web.question`), and sends back what comes. So all workers say the same.

    GET  PAGE, PAGE/...        the page, its files and figures; PAGE/live is a stream of them
    GET  METRICS               for Prometheus; below the page as well
    POST PAGE/act/...          the page's buttons: reclaim, recycle, cache/clear
    POST PAGE/login, /logout   the admin token for a cookie; and the cookie's end

What a browser asks for and may not see is a page that says so; programs get the same as JSON.
The form to log in, its style sheet and its icon are for everybody; they are asked for once, and
kept. Promises that nothing below the page reaches the application, that every answer says
``no-store`` and forbids what browsers might be made to do with it, and 503 where the supervisor
does not answer. Imported with the first request; bounded as the modules above are, and by
:data:`MOST_KEPT_BYTES` of what is for everybody.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from tonnage.answer import Answer
from tonnage.ops.answers import (
    BEARER,
    NO_OTHER_SITE,
    problem,
    too_many_attempts,
    who_may,
    wrong_method,
)
from tonnage.ops.login import (
    HIDDEN,
    SHOWN,
    bearer,
    has_login,
    is_forged,
    is_token,
    issue,
    revoke,
)
from tonnage.ops.places import ACT, ACTIONS
from tonnage.ops.trust import is_from_here, may_press, may_see
from tonnage.units import KIB
from tonnage.web.form import TooLongError, given_token
from tonnage.web.live import Live
from tonnage.web.proxy import peer_address
from tonnage.web.question import SupervisorClient, UnansweredError
from tonnage.web.respond import has_body, respond

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.ops.places import Places
    from tonnage.web.doorman import Doorman
    from tonnage.web.respond import Receive, Scope, Send

MOST_KEPT_BYTES: Final = 64 * KIB

_PUBLIC: Final = ("/login", "/page.css", "/icon.svg")
# From here on an answer is a refusal, or says that something failed.
_REFUSED: Final = 400
_LONGEST_TARGET: Final = 2048
_SAFE: Final = "".join(map(chr, range(0x21, 0x7F)))
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
)
# Stands for the stream, which is no complete answer.
_STREAM: Final = Answer(200, b"")
_NO_TOKEN: Final = (
    "this is shown to loopback peers without a proxy, and to no page of another site; to open it "
    f"to others, set TONNAGE_ADMIN_TOKEN: they log in with it then, or send it as {BEARER}"
)
_NOT_PRESSED: Final = (
    "actions are for the page itself, once logged in (where no token is set: from this machine "
    f"alone), or need {BEARER}"
)


class Relay:
    """Answers what is asked below the page, and for metrics.

    Args:
        places: which paths are ours.
        admin_token: opens it to remote clients; None: nothing does.
        doorman: counts wrong tokens; None where no token is set.
        supervisor: is asked.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        places: Places,
        admin_token: str | None,
        doorman: Doorman | None,
        supervisor: SupervisorClient,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._places = places
        self._admin_token = admin_token
        self._doorman = doorman
        self._supervisor = supervisor
        self._clock = clock
        self._live = Live(lambda: supervisor.ask("GET", f"{places.page_path}/state"))
        # By path; at most as many as are public, and MOST_KEPT_BYTES together.
        self._kept: dict[str, Answer] = {}

    def drain(self) -> None:
        """End the streams: the worker is to end."""
        self._live.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to one of our paths."""
        try:
            answer = await self._answer(scope, receive)
        except (UnansweredError, MemoryError) as error:
            why = str(error) or "there is no memory for this just now"
            again = ((b"retry-after", b"2"),)
            answer = problem(503, "service_unavailable", f"{why}; try again soon", again)
        if answer is _STREAM:
            await self._live.stream(receive, send, _HEADERS)
            return
        if answer.status >= _REFUSED and self._places.page_path and _is_for_a_person(scope):
            answer = _as_page(answer, self._places.page_path)
        has = {name for name, _ in answer.headers}
        more = tuple(each for each in _HEADERS if each[0] not in has)
        await respond(scope, receive, send, replace(answer, headers=(*answer.headers, *more)))

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if scope["type"] != "http":
            return problem(404, "not_found", "there is no WebSocket here")
        path, method = scope["path"], scope["method"]
        metrics = self._places.metrics.get(path)
        if metrics is not None:
            return await self._look(scope, metrics)
        below = path.removeprefix(self._places.page_path)
        if below == "/":
            # As people write it; the page's own links are relative.
            return _see_other(self._places.page_path)
        if below == "/login" and method == "POST":
            return await self._log_in(scope, receive)
        if below == "/logout":
            return self._log_out(scope)
        if below.startswith(ACT):
            return await self._press(scope, below[len(ACT) - 1 :])
        if below in _PUBLIC and method in ("GET", "HEAD"):
            return await self._public(scope, below)
        return await self._look(scope, path)

    async def _look(self, scope: Scope, path: str) -> Answer:
        """Return what the supervisor shows at *path*, or the stream's beginning."""
        if scope["method"] not in ("GET", "HEAD"):
            return wrong_method("GET, HEAD")
        if not self._lets(may_see, scope):
            return self._refuse(scope)
        if path == f"{self._places.page_path}/live" and scope["method"] == "GET":
            if self._live.is_full:
                return problem(503, "service_unavailable", "too many look at this worker already")
            return _STREAM
        answer = await self._supervisor.ask("GET", _target(path, scope))
        is_page = path == self._places.page_path
        if is_page and has_login(scope["headers"], self._admin_token, self._clock()):
            return replace(answer, body=answer.body.replace(HIDDEN, SHOWN))
        return answer

    def _lets(self, lets: Callable[..., bool], scope: Scope) -> bool:
        is_blocked = self._doorman is not None and self._doorman.blocks(scope)
        who = peer_address(scope), scope["headers"], self._admin_token, self._clock()
        return lets(*who, is_blocked=is_blocked)

    def _refuse(self, scope: Scope, detail: str = "") -> Answer:
        """Return what is said to whoever may not: where to log in, if a person would see it."""
        if self._doorman is None or self._admin_token is None:
            return problem(403, "forbidden", detail or _NO_TOKEN)
        headers = scope["headers"]
        if bearer(headers) is not None and (seconds := self._doorman.blocked_seconds(scope)):
            return too_many_attempts(seconds)
        if is_forged(headers, self._admin_token):
            self._doorman.forged(scope)
        page_path = self._places.page_path
        if scope["path"] == page_path:
            return _see_other(f"{page_path}/login")
        after = (f"after a log-in at {page_path}/login",) if page_path else ()
        who = who_may("this is shown", NO_OTHER_SITE, *after)
        return problem(403, "forbidden", detail or who)

    async def _public(self, scope: Scope, below: str) -> Answer:
        """Return what is for everybody: asked for once, or a flood of it would reach far."""
        if below == "/login" and self._doorman is None:
            if self._lets(may_see, scope):
                return _see_other(self._places.page_path)
            return self._refuse(scope)
        kept = self._kept.get(below)
        if kept is None:
            kept = await self._supervisor.ask("GET", quote(scope["path"]))
            held = sum(len(each.body) for each in self._kept.values())
            if kept.status == 200 and held + len(kept.body) <= MOST_KEPT_BYTES:
                self._kept[below] = kept
        return kept

    async def _press(self, scope: Scope, action: str) -> Answer:
        if action not in ACTIONS:
            return problem(404, "not_found", "there is no such action here")
        if scope["method"] != "POST":
            return wrong_method("POST")
        if not self._lets(may_press, scope):
            return self._refuse(scope, _NOT_PRESSED)
        if has_body(scope):
            return problem(400, "bad_request", "a body is not read: use the query")
        return await self._supervisor.ask("POST", _target(action, scope))

    async def _log_in(self, scope: Scope, receive: Receive) -> Answer:
        if self._doorman is None:
            return problem(403, "forbidden", _NO_TOKEN)
        try:
            given, is_form = await given_token(scope, receive)
        except TooLongError:
            return problem(413, "payload_too_large", "a log-in has at most 4 KB")
        # Nothing is awaited from here to the count, or guesses at the same time would all pass.
        if seconds := self._doorman.blocked_seconds(scope):
            return too_many_attempts(seconds)
        if given is None:
            detail = "send the token as a form or as JSON, token=..."
            return problem(400, "bad_request", detail)
        if not is_token(given, self._admin_token or ""):
            self._doorman.failed(scope)
            if not is_form:
                return problem(403, "forbidden", "this is not the token")
            form = await self._supervisor.ask("GET", f"{self._places.page_path}/login?failed=1")
            return replace(form, status=403)
        path, secure = self._places.page_path, _is_secure(scope)
        cookie = issue(given, self._clock(), path=path, secure=secure)
        kept = ((b"set-cookie", cookie),)
        return _see_other(path, kept) if is_form else Answer(200, b'{"ok":true}', kept)

    def _log_out(self, scope: Scope) -> Answer:
        if scope["method"] != "POST":
            return wrong_method("POST")
        if not is_from_here(scope["headers"]):
            return problem(403, "forbidden", "only the page itself logs out")
        path = self._places.page_path
        gone = revoke(path=path, secure=_is_secure(scope))
        return _see_other(f"{path}/login", ((b"set-cookie", gone),))


def _target(path: str, scope: Scope) -> str:
    query: bytes = scope.get("query_string", b"")
    # What a server in front of us has let through: no byte may end our own request.
    target = quote(path) + ("?" + quote(query, safe=_SAFE) if query else "")
    return target if len(target) <= _LONGEST_TARGET else "/too-long"


def _is_secure(scope: Scope) -> bool:
    """Return whether the request came by HTTPS, if need be by what a proxy says.

    Whoever lies here only keeps his own browser from sending the cookie.
    """
    said = dict(scope["headers"]).get(b"x-forwarded-proto", b"")
    return scope.get("scheme") == "https" or said.strip().lower().startswith(b"https")


def _is_for_a_person(scope: Scope) -> bool:
    """Return whether a browser asks for something to be shown."""
    accepts = dict(scope["headers"]).get(b"accept", b"")
    return scope["type"] == "http" and b"text/html" in accepts.lower()


def _as_page(answer: Answer, page_path: str) -> Answer:
    """Return a refusal as a page, where it is JSON, which says the same."""
    if answer.content_type != b"application/json":
        return answer
    # Imported when a person sees one.
    import json
    from html import escape
    from http import HTTPStatus

    from tonnage.ops.page import files

    detail = str(json.loads(answer.body).get("detail", ""))
    told = {"title": HTTPStatus(answer.status).phrase, "page": page_path}
    told["detail"] = escape(f"{detail[:1].upper()}{detail[1:]}.")
    shown = files.send("refused.html", told)
    return replace(shown, status=answer.status, headers=(*answer.headers, *shown.headers))


def _see_other(path: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    return Answer(303, b"", ((b"location", path.encode()), *headers), b"text/plain")
