"""What operators ask on the application's port, passed on to the supervisor.

A worker knows little of it: it lets them in (:mod:`tonnage.web.entrance`), passes the question on
(:mod:`tonnage.web.question`), and sends back what comes. So all workers say the same.

    GET  PAGE, PAGE/...        the page, its files and figures; PAGE/live is a stream of them
    GET  METRICS               for Prometheus; below the page as well
    POST PAGE/act/...          the page's buttons: reclaim, recycle, cache/clear
    POST PAGE/login, /logout   the way in, and out

What a browser asks for and may not see is a page that says so; programs get the same as JSON.
The form to log in, its style sheet and its icon are for everybody; they are asked for once, and
kept. Promises that nothing below the page reaches the application, that every answer says
``no-store`` and forbids what browsers might be made to do with it, and 503 where the supervisor
does not answer. Imported with the first request; bounded as the modules above are, and by
:data:`MOST_KEPT_BYTES` of what is for everybody.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from tonnage.answer import Answer
from tonnage.ops.answers import BEARER, problem, see_other, wrong_method
from tonnage.ops.login import HIDDEN, SHOWN
from tonnage.ops.places import ACT, ACTIONS
from tonnage.ops.trust import may_press, may_see
from tonnage.units import KIB
from tonnage.web.entrance import Entrance
from tonnage.web.live import Live
from tonnage.web.question import SupervisorClient, UnansweredError
from tonnage.web.respond import has_body, respond

if TYPE_CHECKING:
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
    """

    def __init__(
        self,
        places: Places,
        admin_token: str | None,
        doorman: Doorman | None,
        supervisor: SupervisorClient,
    ) -> None:
        self._places = places
        self._entrance = Entrance(places.page_path, admin_token, doorman, supervisor)
        self._supervisor = supervisor
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
            return see_other(self._places.page_path)
        if below == "/login" and method == "POST":
            return await self._entrance.log_in(scope, receive)
        if below == "/logout":
            return self._entrance.log_out(scope)
        if below.startswith(ACT):
            return await self._press(scope, below[len(ACT) - 1 :])
        if below in _PUBLIC and method in ("GET", "HEAD"):
            return await self._public(scope, below)
        return await self._look(scope, path)

    async def _look(self, scope: Scope, path: str) -> Answer:
        """Return what the supervisor shows at *path*, or the stream's beginning."""
        if scope["method"] not in ("GET", "HEAD"):
            return wrong_method("GET, HEAD")
        if not self._entrance.lets(may_see, scope):
            return self._entrance.refuse(scope)
        if path == f"{self._places.page_path}/live" and scope["method"] == "GET":
            if self._live.is_full:
                return problem(503, "service_unavailable", "too many look at this worker already")
            return _STREAM
        answer = await self._supervisor.ask("GET", _target(path, scope))
        if path == self._places.page_path and self._entrance.is_logged_in(scope):
            return replace(answer, body=answer.body.replace(HIDDEN, SHOWN))
        return answer

    async def _public(self, scope: Scope, below: str) -> Answer:
        """Return what is for everybody: asked for once, or a flood of it would reach far."""
        if below == "/login" and not self._entrance.has_log_in:
            if self._entrance.lets(may_see, scope):
                return see_other(self._places.page_path)
            return self._entrance.refuse(scope)
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
        if not self._entrance.lets(may_press, scope):
            return self._entrance.refuse(scope, _NOT_PRESSED)
        if has_body(scope):
            return problem(400, "bad_request", "a body is not read: use the query")
        return await self._supervisor.ask("POST", _target(action, scope))


def _target(path: str, scope: Scope) -> str:
    query: bytes = scope.get("query_string", b"")
    # What a server in front of us has let through: no byte may end our own request.
    target = quote(path) + ("?" + quote(query, safe=_SAFE) if query else "")
    return target if len(target) <= _LONGEST_TARGET else "/too-long"


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
