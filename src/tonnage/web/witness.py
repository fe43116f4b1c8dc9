"""Hears of a MemoryError that a framework answers by itself, before the guard can see it.

Django and Flask turn an error into a 500 and send that once the error is handled. Both announce it
first, by a signal named ``got_request_exception``. A bare WSGI application that answers 500 does so
by ``start_response``, as a rule while it handles the error. All of that may happen in a thread; a
context variable, which the threads of asgiref, a2wsgi and anyio inherit, says whose request it is.

And a thread must let go of what its error holds by itself (:func:`freeing`): handing the error to
the event loop needs memory, and where there is none the thread ends without a word, and whoever
waits for it does so for ever.

Covers the frameworks that are loaded when the guard is made. What else catches a MemoryError and
answers by itself is believed to know what it does.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.web.outofmemory import Finding

    Find = Callable[[BaseException | None], Finding | None]

# The guard's way to free an error that is no request's; one for each process, as threads are.
_find: Find | None = None
# Whether an application is heard over WSGI.
_hears_wsgi = False
_current: ContextVar[Testimony | None] = ContextVar("tonnage_testimony", default=None)


class Testimony:
    """What has been heard for one request; in the context of what runs for it."""

    __slots__ = ("_find", "finding")

    def __init__(self, find: Find) -> None:
        """Begin to hear for the current context; *find* frees an error and says what it was."""
        self._find = find
        self.finding: Finding | None = None
        _current.set(self)

    def hear(self, error: BaseException | None) -> Finding | None:
        """Free *error* if memory is behind it, and return what it was; the first one is noted."""
        finding = self._find(error)
        if self.finding is None:
            self.finding = finding
        return finding


def listen(find: Find) -> bool:
    """Connect to the signals of the frameworks that are loaded; return whether anything can speak.

    *find* frees an error, also where it is nobody's. A process has one guard: a further call puts
    the new one's in its place.
    """
    global _find
    _find = find
    if django := sys.modules.get("django.core.signals"):
        django.got_request_exception.connect(_on_signal, weak=False, dispatch_uid=_on_signal)
    if flask := sys.modules.get("flask.signals"):
        flask.got_request_exception.connect(_on_signal, weak=False)
    return bool(django or flask or _hears_wsgi)


def heard(wsgi: Callable[..., Any]) -> Callable[..., Any]:
    """Return *wsgi*, and hear of the errors that it answers with 500. Comes before ``listen``."""
    global _hears_wsgi
    _hears_wsgi = True

    def run(environ: Any, start_response: Callable[..., Any]) -> Any:
        def start(status: str, headers: Any, exc_info: Any = None) -> Any:
            if status.startswith("500"):
                hear(sys.exception() or (exc_info[1] if exc_info else None))
            return start_response(status, headers, exc_info)

        return wsgi(environ, start)

    return run


def _on_signal(sender: object = None, exception: BaseException | None = None, **_: object) -> None:
    # Django gives no error, but signals while it handles it.
    hear(exception or sys.exception())


def hear(error: BaseException | None) -> Finding | None:
    """Free *error* if memory is behind it, and return what it was; the current request notes it."""
    return _tell(_current.get(), error)


def freeing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return *function*, to be run in a thread for the current request; see above."""
    testimony = _current.get()

    def run(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except BaseException as error:
            _tell(testimony, error)
            raise

    return run


def _tell(testimony: Testimony | None, error: BaseException | None) -> Finding | None:
    if testimony is not None:
        return testimony.hear(error)
    return _find(error) if _find is not None else None
