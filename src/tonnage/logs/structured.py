"""structlog's events on the way of all lines: configured once, by ``setup_logging``.

What is bound to a logger or to the context (``structlog.contextvars``) is a field of its own.
Promises that no call fails whatever it is given to say, as the standard library's do not: what
cannot be made a text of is named in its place, with the line of code.
Imports structlog; where it is not installed, nothing here is imported.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from tonnage.logs.lines import Lines, exception_text
from tonnage.logs.texts import failure

if TYPE_CHECKING:
    from tonnage.logs.outlet import Outlet

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_OTHER_NAMES: Final = {"warn": "warning", "exception": "error", "fatal": "critical", "msg": "info"}
_SERIOUS: Final = _LEVELS["error"]


def configure(lines: Lines, outlet: Callable[[], Outlet], level: int) -> None:
    """Have structlog write *lines* of *level* and above to what *outlet* returns."""

    def render(logger: _Logger, method: str, event: MutableMapping[str, Any]) -> Any:
        level, now = _OTHER_NAMES.get(method, method), time.time()
        try:
            exc_info, stack = event.pop("exc_info", None), event.pop("stack", None)
            exception = exception_text(_as_tuple(exc_info), stack) if exc_info or stack else ""
            said = event.pop("event", "")
            line = lines.line(now, level.upper(), logger.name, said, event, exception)
        except Exception as error:  # noqa: BLE001 - a log must not fail the caller
            line = lines.line(now, "ERROR", logger.name, failure(error), {"at": _caller()})
        return (line,), {"is_serious": _LEVELS.get(level, 0) >= _SERIOUS}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.StackInfoRenderer(),
            render,
        ],
        wrapper_class=_guarded(structlog.make_filtering_bound_logger(level), level),
        logger_factory=lambda *names: _Logger(str(names[0]) if names else "root", outlet),
        cache_logger_on_first_use=True,
    )


def _guarded(base: Any, least: int) -> Any:
    """Return *base*, whose methods format what they are given, with methods that cannot fail at it.

    Those below the level *least* do nothing, and stay as they are.
    """

    def guarded(name: str) -> Callable[..., Any]:
        method = getattr(base, name)

        def log(self: Any, event: Any = "", *args: Any, **fields: Any) -> Any:
            if args:
                try:
                    event = _formatted(event, args)
                except Exception as error:  # noqa: BLE001 - a log must not fail the caller
                    event, fields["at"] = failure(error), _caller()
            return method(self, event, **fields)

        return log

    def by_number(prefix: str) -> Callable[..., Any]:
        def log(self: Any, level: int, event: Any = "", *args: Any, **fields: Any) -> Any:
            # Of a level between two, or below all, the next name that there is.
            fitting = [name for name, number in _LEVELS.items() if number <= level] or ["debug"]
            return getattr(self, prefix + fitting[-1])(event, *args, **fields)

        return log

    names = [name for name, number in _LEVELS.items() if number >= least]
    names += [name for name, usual in _OTHER_NAMES.items() if usual in names]
    methods = {prefix + name: guarded(prefix + name) for name in names for prefix in ("", "a")}
    methods |= {f"{prefix}log": by_number(prefix) for prefix in ("", "a")}
    return type("GuardedLogger", (base,), methods)


def _formatted(event: Any, args: tuple[Any, ...]) -> Any:
    """Return *event* with *args* in it, as the standard library and structlog do it."""
    is_mapping = len(args) == 1 and isinstance(args[0], Mapping) and args[0]
    return event % (args[0] if is_mapping else args)


def _caller() -> str:
    """Return where in the code the log was called; the first frame that is neither ours."""
    frame = sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(_OF_LOGS):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


_OF_LOGS: Final = ("structlog.", "tonnage.logs.")


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
