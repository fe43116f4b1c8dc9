"""The log: one line an event on stderr, text for people or JSON for machines.

``configure()`` sets up the loggers ``tonnage`` and ``uvicorn``, and no other: what the application
logs, and how, is the application's (:mod:`tonnage.logs` has something for it). Each line is one
``write()`` without a buffer or a thread, so lines of several processes do not mix and nothing is
left behind by a process that ends or forks. (A pipe keeps a write whole up to 4 KB; of longer
lines, only tracebacks as a rule, pieces can mix.)

Where stderr is a full pipe which nobody reads, a line waits a twentieth of a second for room, and
while there is none the others do not wait at all: they are dropped. The first one that finds room
again is preceded by one that says how many were (:mod:`tonnage.logs.outflow`).

Figures go beside the message, ``logger.warning("memory ...", extra={"fields": {"used": 431}})``:
keys of their own in JSON, ``used=431`` at the end of a line of text. So is the id of the request
that is being served, where there are ids. Secrets are hidden (:mod:`tonnage.logs.masking`).

Does not rotate, buffer or send: whoever runs the process takes its stderr.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tonnage.logs import ring
from tonnage.logs.context import request_id
from tonnage.logs.masking import Mask
from tonnage.logs.outflow import Outflow
from tonnage.logs.texts import (
    cut,
    cut_front,
    encodable,
    failure,
    json_line,
    level_column,
    visible,
)
from tonnage.settings import LoggingSettings

_STDERR: Final = 2

_mask: Final = Mask()


def configure(
    settings: LoggingSettings, *, fd: int = _STDERR, environ: Mapping[str, str] = os.environ
) -> None:
    """Send what Tonnage and uvicorn log to *fd*, as *settings* say.

    Lines are JSON in production, else text, in colour on a terminal unless ``NO_COLOR`` is set.
    Can be called again, also after a fork, and replaces what it did before.
    """
    handler = LineHandler(fd)
    if settings.as_json:
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter(color=os.isatty(fd) and not environ.get("NO_COLOR")))
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    for name in ("tonnage", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level)
    # The access log has its own option, so the general level does not silence it.
    access = logging.getLogger("uvicorn.access")
    access.setLevel(logging.INFO if settings.access_log else logging.WARNING)
    chatty = logging.getLogger("uvicorn.error")
    chatty.filters = [kept for kept in chatty.filters if not isinstance(kept, Chatter)]
    chatty.addFilter(Chatter(shown=level <= logging.DEBUG, access_log=settings.access_log))


def speak_again() -> None:
    """Undo what an application's ``dictConfig`` does to us, that turns off what it does not name.

    Unless it says ``"disable_existing_loggers": False``, which it mostly does not.
    """
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.partition(".")[0] == "tonnage":
            logger.disabled = False


class Chatter(logging.Filter):
    """Lowers uvicorn's accounts of itself to debug: the supervisor says what matters of them."""

    def __init__(self, *, shown: bool, access_log: bool) -> None:
        super().__init__()
        self._shown = shown
        self._access_log = access_log

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether *record* is shown; one at INFO becomes DEBUG."""
        if record.levelno != logging.INFO:
            return True
        # uvicorn writes the access log of WebSockets to the same logger as its chatter.
        if self._access_log and '"WebSocket' in str(record.msg):
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return self._shown


class LineHandler(logging.Handler):
    """Writes each record to a file descriptor at once, in one piece."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._flow = Outflow(fd, self._notice)

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*; one that cannot be formatted is named in its place."""
        try:
            line = self._line(record)
        except Exception as error:  # noqa: BLE001  (as in the standard library: a log must not fail the caller)
            place = f"{record.pathname}:{record.lineno}"
            message = f"{failure(error)}, at {place}"
            line = self._line(_record(record.name, logging.ERROR, message))
        self._flow.write(line)
        ring.note(line)

    def _line(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode("utf-8", "backslashreplace")

    def _notice(self, lines: int, since: float) -> bytes:
        at = time.strftime("%H:%M:%S", time.localtime(since))
        message = f"{lines} line(s) of this log were dropped since {at}: nobody read them"
        return self._line(_record("tonnage.log", logging.WARNING, message))


class TextFormatter(logging.Formatter):
    """``14:02:11 WARNING  memory 431 MB of 512 MB``, in local time."""

    def __init__(self, *, color: bool) -> None:
        super().__init__()
        self._color = color

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and further, indented ones for an exception."""
        level = level_column(record.levelname, is_colored=self._color)
        text = _message(record)
        text += "".join(f" {key}={value}" for key, value in _fields(record).items())
        if trace := _exception(self, record):
            text += f"\n{trace}"
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{at} {level} {visible(text)}"


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, pid, the fields, and any exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": encodable(_message(record)),
            "pid": record.process,
        }
        if trace := _exception(self, record):
            line["exception"] = encodable(trace)
        return json_line(line, {encodable(key): value for key, value in _fields(record).items()})


def _message(record: logging.LogRecord) -> str:
    return _mask.text(cut(record.getMessage()))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was given as ``extra={"fields": {...}}``, and the request's id."""
    fields = getattr(record, "fields", None)
    found = _mask(fields) if isinstance(fields, Mapping) else {}
    served = request_id()
    return found if served is None else {"request_id": served, **found}


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Return the traceback that goes with *record*, or nothing."""
    parts = [
        formatter.formatException(record.exc_info) if record.exc_info else record.exc_text,
        formatter.formatStack(record.stack_info) if record.stack_info else None,
    ]
    text = "\n".join(filter(None, parts))
    return _mask.text(cut_front(text)) if text else ""


def _record(name: str, level: int, message: str) -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 0, message, None, None)
