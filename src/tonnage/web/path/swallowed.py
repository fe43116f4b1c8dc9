"""Refusals that a framework has answered by itself, with a 500 of its own, are found again.

Starlette lets a RequestRefusedError out, or is handling it while it answers. Django and Flask turn
it into their 500, and send that when the error is gone; but both announce it first, by a signal
named ``got_request_exception`` that has the request. Its refusal is noted there: in the ASGI scope
or the WSGI environ, where whoever sees the 500 looks.

And both write an error with its traceback into the log, for each: whoever sends what is refused
would fill it. Of a refusal it becomes one short line, a warning.

Covers the frameworks that are loaded when :func:`listen` is called. An error that the application
handles itself is announced by neither, and is the application's to answer.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from tonnage.problem import printable, problem_in

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from tonnage.problem import Problem

_NOTE: Final = "tonnage.refused"


def listen() -> None:
    """Connect to the signals of the frameworks that are loaded; once is enough."""
    if django := sys.modules.get("django.core.signals"):
        django.got_request_exception.connect(_on_django, weak=False, dispatch_uid=_on_django)
        # One filter is added once, however often.
        logging.getLogger("django.request").addFilter(_shorten)
    if flask := sys.modules.get("flask.signals"):
        flask.got_request_exception.connect(_on_flask, weak=False)


def refusal_behind(request: Mapping[str, Any]) -> Problem | None:
    """Return the refusal that has led to a response of 500 or more; None: something else has.

    Args:
        request: the ASGI scope or the WSGI environ that the application was given.
    """
    return problem_in(sys.exception()) or request.get(_NOTE)


def is_logged(request: Mapping[str, Any]) -> bool:
    """Return whether a framework has written into the log that *request* was refused."""
    return _NOTE in request


def _on_django(request: Any = None, **_: object) -> None:
    # Django gives no error, but signals while it handles it.
    problem = problem_in(sys.exception())
    if problem is not None and request is not None:
        _note(request.scope if hasattr(request, "scope") else request.environ, problem)


def _on_flask(sender: Any = None, exception: BaseException | None = None, **_: object) -> None:
    problem = problem_in(exception)
    if problem is not None:
        from flask import request

        _note(request.environ, problem)
        # Flask logs next; which logger is the application's is known now.
        sender.logger.addFilter(_shorten)


def _shorten(record: logging.LogRecord) -> bool:
    """Make of a framework's *record* of a refusal one line without a traceback."""
    problem = problem_in(record.exc_info[1]) if record.exc_info else None
    if problem is not None:
        said = printable(record.getMessage())
        record.msg = "refused with %d %s: %s (%s)"
        record.args = (problem.status, problem.error, problem.detail, said)
        record.exc_info = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _note(request: MutableMapping[str, Any], problem: Problem) -> None:
    request[_NOTE] = problem
    # a2wsgi's: the request came over ASGI, and is looked at there.
    scope = request.get("asgi.scope")
    if scope is not None:
        scope[_NOTE] = problem
