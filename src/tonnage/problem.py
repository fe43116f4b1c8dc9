"""One shape for everything that is refused: problem details as of RFC 9457.

``error`` is what programs look at, ``detail`` says to people what happened and what to do. The type
is ``about:blank``, so the title is that of the status; what is particular is in further members.

A shape of one's own is a function from a problem to what its JSON is to be
(``Tonnage(app, shape=...)``, ``--problem-shape``). Status and headers stay. Where it fails, the
error is logged, and the client gets problem details.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from tonnage.answer import Answer
from tonnage.errors import RequestRefusedError
from tonnage.units import format_bytes

logger = logging.getLogger("tonnage.requests")

CONTENT_TYPE: Final = b"application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request is refused."""

    status: int
    #: One word for programs: ``payload_too_large``.
    error: str
    #: What happened, and what to do about it.
    detail: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def members(self) -> dict[str, Any]:
        """Return the members of the JSON object."""
        return {
            "type": "about:blank",
            "title": _title(self.status),
            "status": self.status,
            "error": self.error,
            "detail": self.detail,
            **self.extra,
        }

    def answer(self, shape: Shape | None = None) -> Answer:
        """Return the whole answer; *shape* makes the JSON, if it is given."""
        if shape is not None:
            try:
                body = _json(shape(self))
            except Exception:  # it is the user's, and the client is to have an answer
                logger.exception("the shape of refusals failed for %r", self.error)
            else:
                return Answer(self.status, body, self.headers)
        return Answer(self.status, _json(self.members()), self.headers, CONTENT_TYPE)


Shape = Callable[[Problem], Any]


def problem_in(error: BaseException | None) -> Problem | None:
    """Return the problem of a refusal that is *error*, its cause, or in its group; None: none."""
    # A cause may be part of a circle; nobody wraps so often.
    for _ in range(_MOST_CAUSES):
        if isinstance(error, RequestRefusedError):
            return error.problem
        if isinstance(error, BaseExceptionGroup):
            found = (problem_in(each) for each in error.exceptions)
            return next((problem for problem in found if problem is not None), None)
        if error is None:
            return None
        error = error.__cause__
    return None


_MOST_CAUSES: Final = 8
_LONGEST_SHOWN: Final = 200


def body_too_large(limit_bytes: int) -> Problem:
    """Return the refusal of a body larger than *limit_bytes*."""
    return Problem(
        413,
        "payload_too_large",
        f"the body is larger than the {format_bytes(limit_bytes)} that are taken here: send less,"
        " or in parts",
        {"maxBytes": limit_bytes},
    )


def response_too_large(limit_bytes: int, length_bytes: int) -> Problem:
    """Return the answer in place of a response of at least *length_bytes*."""
    return Problem(
        500,
        "response_too_large",
        f"the response would be larger than {format_bytes(limit_bytes)}: ask for less at once",
        {"maxBytes": limit_bytes, "bytes": length_bytes},
    )


def too_late(seconds: float) -> Problem:
    """Return the answer for a request that has taken *seconds* and has not said anything."""
    return Problem(
        504,
        "timed_out",
        f"the request was not answered within {seconds:g} s, so it was ended: ask for less, or"
        " try again later",
        {"seconds": seconds},
    )


def log_refusal(scope: Mapping[str, Any], problem: Problem, outcome: str) -> None:
    """Write into the log that the request of *scope* has met *problem*, and with which *outcome*.

    Method and path may hold anything, lines for the log too: they are escaped, and cut.
    """
    shown = printable(f"{scope['method']} {scope['path']}")
    logger.warning("%s: %s: %s", shown, problem.detail, outcome)


def printable(said: str) -> str:
    """Return *said* cut, and escaped where it would write lines of its own."""
    said = said[:_LONGEST_SHOWN]
    return said if said.isprintable() else ascii(said)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"
