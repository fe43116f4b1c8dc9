"""What a running server does when it is asked to: by method and path, for its operators alone.

    POST /reclaim                    collect garbage and give memory back; GET tells the effect
    POST /recycle?worker=N           replace one worker, or all in turn
    POST /leaks?seconds=S&worker=N   begin to trace what a worker allocates; GET tells the result
    POST /cache/clear?name=NAME      empty one cache, or all, in every worker
    GET  /postmortems[/NAME]         the reports on what died; NAME.txt is text for people
    GET  /status                     the statistics of this moment

Promises that every answer is a JSON object (a report may be text), and that an action which fails
does not end the server. Does none of this itself: an :class:`Operator` does. Who may ask is
decided by the conversation (:mod:`tonnage.server.conversation`): the control socket may, and
whoever sends the token. The ``tonnage`` commands (:mod:`tonnage.cli.control`) ask here.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Protocol

from tonnage.errors import ActionError, ConfigError
from tonnage.governor.page import MAX_WORKERS
from tonnage.ops import caches
from tonnage.ops.answers import BEARER, answer_json, answer_text, problem, wrong_method
from tonnage.ops.query import QueryError, read_query
from tonnage.units import parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tonnage.answer import Answer
    from tonnage.governor.statistics import Statistics
    from tonnage.server.conversation import Head

logger = logging.getLogger("tonnage.supervisor")

LONGEST_TRACE_SECONDS: Final = 120.0
SHORTEST_TRACE_SECONDS: Final = 0.5
USUAL_TRACE_SECONDS: Final = 10.0

_REPORTS: Final = "/postmortems/"
_LONGEST_NAME: Final = 128

_FORBIDDEN: Final = (
    "actions are for the control socket, whose path the server prints when it starts, "
    f"or need {BEARER}"
)
_NO_BODY: Final = (
    "a body is not read: put what you mean into the query, for example POST /recycle?worker=0"
)
_FAILED: Final = "the action failed; the server goes on, and its log has the reason"
_EFFECT: Final = "`tonnage reclaim` does the same, and tells how much it was"


class Operator(Protocol):
    """Who carries the actions out: the supervisor.

    All of it is called in the supervisor's loop, so nothing here waits: what takes time is begun,
    and asked about later.
    """

    def reclaim(self) -> int:
        """Ask the workers to give memory back; return how many were asked.

        From now on :meth:`reclaimed` tells of this reclaim, first as running.
        """

    def reclaimed(self) -> dict[str, Any]:
        """Return what came of the last reclaim; empty if there was none.

        ``state`` (``running`` or ``done``), ``time`` (ISO 8601, when it began), ``freed_bytes``,
        ``by`` (what freed it: bytes, for example ``caches``, ``collection``, ``allocator``), and
        ``workers``: of each ``worker`` (its index) and ``freed_bytes``.
        """

    def recycle(self, worker: int | None) -> str:
        """Begin to replace *worker*, or all in turn; return a sentence that says so.

        Raises:
            ActionError: refused; says why.
        """

    def trace_leaks(self, worker: int | None, seconds: float) -> str:
        """Begin to trace *worker*, or one that is chosen; return a sentence that says so.

        From now on :meth:`leaks` tells of this trace, first as running.

        Raises:
            ActionError: refused; says why.
        """

    def leaks(self) -> dict[str, Any]:
        """Return what is known of leaks.

        ``state`` of the last trace (``idle``, ``running`` or ``done``; ``idle`` again if it ended
        without a report, and ``detail`` then says why), ``leaks`` (those detected), ``report`` (of
        the last trace, or None) and ``text`` (the report for people).
        """

    def clear_caches(self, name: str | None) -> str:
        """Have the caches called *name* emptied, or all; return a sentence that says so.

        Raises:
            ActionError: refused; says why.
        """

    def postmortems(self) -> list[dict[str, Any]]:
        """Return the reports, newest first: ``name, time, worker, cause, summary``.

        ``worker`` is None for one on a program that the application had started. ``application``
        is on which it is, and ``is_own`` whether that is the one that runs.
        """

    def postmortem(self, name: str) -> dict[str, Any] | None:
        """Return the report *name* with its ``text``; None if there is none."""


class Actions:
    """The actions by path and method."""

    def __init__(self, operator: Operator, statistics: Callable[[], Statistics]) -> None:
        self._operator = operator
        self._statistics = statistics
        self._paths: dict[str, dict[str, Callable[[Head], Answer]]] = {
            "/reclaim": {"GET": self._reclaimed, "POST": self._reclaim},
            "/recycle": {"POST": self._recycle},
            "/leaks": {"GET": self._leaks, "POST": self._trace_leaks},
            caches.PATH: {"POST": self._clear_caches},
            "/postmortems": {"GET": self._postmortems},
            "/status": {"GET": self._status},
        }
        self._report: dict[str, Callable[[Head], Answer]] = {"GET": self._postmortem}

    def has(self, path: str) -> bool:
        """Return whether *path* is answered here."""
        return self._methods(path) is not None

    def answer(self, head: Head, *, allowed: bool) -> Answer:
        """Carry out what *head* asks for, if that is *allowed*; its path must be one of ours."""
        methods = self._methods(head.path) or {}
        if not allowed:
            return problem(403, "forbidden", _FORBIDDEN)
        call = methods.get("GET" if head.method == "HEAD" else head.method)
        if call is None:
            return _wrong_method(methods)
        if head.has_body:
            # Not ignored: who sends worker=0 as a form must not see every worker recycled.
            return problem(400, "bad_request", _NO_BODY)
        try:
            return call(head)
        except QueryError as error:
            return problem(400, "bad_request", str(error))
        except ActionError as error:
            return problem(409, "refused", str(error))
        except Exception:  # a question may not end the server, whatever is wrong with the answer
            logger.exception("%s %s failed", head.method, head.path)
            return problem(500, "internal_error", _FAILED)

    def _methods(self, path: str) -> dict[str, Callable[[Head], Answer]] | None:
        return self._report if path.startswith(_REPORTS) else self._paths.get(path)

    def _reclaim(self, head: Head) -> Answer:
        _query(head)
        asked = self._operator.reclaim()
        if not asked:
            raise ActionError("there is no worker to ask: none is ready yet, or all are ending")
        detail = f"{asked} worker(s) give memory back; {_EFFECT}"
        return answer_json({"asked": asked, "detail": detail}, 202)

    def _reclaimed(self, head: Head) -> Answer:
        _query(head)
        return answer_json(self._operator.reclaimed())

    def _recycle(self, head: Head) -> Answer:
        worker = _worker(_query(head, "worker"))
        return answer_json({"worker": worker, "detail": self._operator.recycle(worker)}, 202)

    def _trace_leaks(self, head: Head) -> Answer:
        query = _query(head, "seconds", "worker")
        worker, seconds = _worker(query), _seconds(query)
        detail = self._operator.trace_leaks(worker, seconds)
        return answer_json({"worker": worker, "seconds": seconds, "detail": detail}, 202)

    def _leaks(self, head: Head) -> Answer:
        _query(head)
        return answer_json(self._operator.leaks())

    def _clear_caches(self, head: Head) -> Answer:
        name = _query(head, "name").get("name")
        if unknown := caches.why_unknown(name):
            return unknown
        return answer_json({"cleared": name, "detail": self._operator.clear_caches(name)}, 202)

    def _postmortems(self, head: Head) -> Answer:
        _query(head)
        return answer_json({"reports": self._operator.postmortems()})

    def _postmortem(self, head: Head) -> Answer:
        _query(head)
        name = head.path.removeprefix(_REPORTS)
        as_text = name.endswith(".txt") or (not name.endswith(".json") and _wants_text(head))
        name = name.removesuffix(".txt").removesuffix(".json")
        report = self._operator.postmortem(name) if _is_name(name) else None
        if report is None:
            detail = "there is no report of this name: GET /postmortems lists them"
            return problem(404, "not_found", detail)
        if as_text:
            return answer_text(str(report["text"]))
        return answer_json({key: value for key, value in report.items() if key != "text"})

    def _status(self, head: Head) -> Answer:
        _query(head)
        return answer_json(to_json(self._statistics()))


def to_json(now: Statistics) -> dict[str, Any]:
    """Return *now* as JSON has it: sizes in bytes, times in seconds, states by their names."""
    body = asdict(now) | {
        "level": now.level.name,
        "available_bytes": now.available_bytes,
        "usage_percent": now.usage_percent,
        "tree_pss_bytes": now.tree_pss_bytes,
        "reserved_bytes": now.reserved_bytes,
        "ready_workers": now.ready_workers,
    }
    for shown, worker in zip(body["workers"], now.workers, strict=True):
        shown["state"] = "STUCK" if worker.is_stuck else worker.state.name
    return body


def _wrong_method(methods: Mapping[str, object]) -> Answer:
    names = sorted(methods)
    allowed = ", ".join(["GET", "HEAD", *names[1:]] if names[0] == "GET" else names)
    return wrong_method(allowed)


def _wants_text(head: Head) -> bool:
    accepted = head.header(b"accept")
    return b"text/plain" in accepted and b"application/json" not in accepted


def _is_name(name: str) -> bool:
    """Return whether *name* can be that of a report: nothing that leads to another directory."""
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    return plain.isascii() and plain.isalnum() and name[0] != "." and len(name) <= _LONGEST_NAME


def _query(head: Head, *known: str) -> dict[str, str]:
    return read_query(head.query, *known)


def _worker(query: Mapping[str, str]) -> int | None:
    text = query.get("worker")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) < MAX_WORKERS):
        raise QueryError(f"worker={text[:20]!r} is no worker: `tonnage status` shows their index")
    return int(text)


def _seconds(query: Mapping[str, str]) -> float:
    text = query.get("seconds")
    if text is None:
        return USUAL_TRACE_SECONDS
    try:
        seconds = parse_seconds(text)
    except ConfigError:
        seconds = 0.0
    if not SHORTEST_TRACE_SECONDS <= seconds <= LONGEST_TRACE_SECONDS:
        raise QueryError(
            f"seconds={text[:20]!r} is not a duration from {SHORTEST_TRACE_SECONDS:g} to "
            f"{LONGEST_TRACE_SECONDS:g} seconds"
        )
    return seconds
