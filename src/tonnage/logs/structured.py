"""structlog's events on the way of all lines: configured once, by ``setup_logging``.

What is bound to a logger or to the context (``structlog.contextvars``) is a field of its own.
Imports structlog; where it is not installed, nothing here is imported.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from tonnage.logs.lines import Lines, exception_text

if TYPE_CHECKING:
    from tonnage.logs.outlet import Outlet

_LEVELS: Final = {"warn": "warning", "exception": "error", "fatal": "critical", "msg": "info"}
_SERIOUS: Final = frozenset(("error", "critical"))


def configure(lines: Lines, outlet: Callable[[], Outlet], level: int) -> None:
    """Have structlog write *lines* of *level* and above to what *outlet* returns."""

    def render(logger: _Logger, method: str, event: MutableMapping[str, Any]) -> Any:
        level = _LEVELS.get(method, method)
        exc_info, stack = event.pop("exc_info", None), event.pop("stack", None)
        exception = exception_text(_as_tuple(exc_info), stack) if exc_info or stack else ""
        said = event.pop("event", "")
        line = lines.line(time.time(), level, logger.name, said, event, exception)
        return (line,), {"is_serious": level in _SERIOUS}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.StackInfoRenderer(),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Logger(str(names[0]) if names else "root", outlet),
        cache_logger_on_first_use=True,
    )


class _Logger:
    """What structlog hands finished lines to, by the name of a level."""

    def __init__(self, name: str, outlet: Callable[[], Outlet]) -> None:
        self.name = name
        self._outlet = outlet

    def _put(self, line: bytes, *, is_serious: bool) -> None:
        self._outlet().put(line, is_serious=is_serious)

    debug = info = msg = warning = warn = error = exception = critical = fatal = _put


def _as_tuple(exc_info: Any) -> Any:
    """Return what callers give for an exception as the standard library has it."""
    if isinstance(exc_info, BaseException):
        return type(exc_info), exc_info, exc_info.__traceback__
    return exc_info if isinstance(exc_info, tuple) or not exc_info else sys.exc_info()
