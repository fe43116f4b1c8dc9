"""The log: one line an event on stderr, text for people or JSON for machines.

``configure()`` sets up the loggers ``tonnage`` and ``uvicorn``, and no other: what the application
logs, and how, is the application's. Each line is one ``write()`` without a buffer, so lines of
several processes do not mix and nothing is left behind by a process that ends or forks. (A pipe
keeps a write whole up to 4 KB; of longer lines, only tracebacks as a rule, pieces can mix.)

Figures go beside the message, ``logger.warning("memory ...", extra={"fields": {"used": 431}})``:
keys of their own in JSON, ``used=431`` at the end of a line of text.

Does not rotate, buffer or send: whoever runs the process takes its stderr. Where that is a full
pipe which nobody reads, a write waits, as it does for every program.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tonnage.config import LoggingSettings

_STDERR: Final = 2
# Longer texts are cut: an error message may hold a whole request. The end of a traceback is what
# tells most, and the beginning of a message.
MAX_TEXT_CHARS: Final = 8192
_CUT: Final = " [...] "

_COLORS: Final = {
    logging.DEBUG: "\x1b[2m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_PLAIN: Final = "\x1b[0m"

# A line break inside a message is indented, so that it cannot be taken for a line of its own, and
# other control characters are spelled out, since a terminal would obey them: a message may quote
# what a client has sent.
_VISIBLE: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {9: "\t", 10: "\n  "}


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
        self._fd = fd

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*; a record that cannot be formatted is reported in its place."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001  (as in the standard library: a log must not fail the caller)
            self.handleError(record)
            return
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError:
            return  # stderr is closed, or full and not to be waited for: nowhere to say so


class TextFormatter(logging.Formatter):
    """``14:02:11 WARNING  memory 431 MB of 512 MB``, in local time."""

    def __init__(self, *, color: bool) -> None:
        super().__init__()
        self._color = color

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and further, indented ones for an exception."""
        level = f"{record.levelname:<8}"
        if self._color and record.levelno in _COLORS:
            level = f"{_COLORS[record.levelno]}{level}{_PLAIN}"
        text = _cut(record.getMessage())
        text += "".join(f" {key}={value}" for key, value in _fields(record).items())
        if trace := _exception(self, record):
            text += f"\n{trace}"
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{at} {level} {text.translate(_VISIBLE)}"


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, pid, the fields, and any exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _encodable(_cut(record.getMessage())),
            "pid": record.process,
        }
        if trace := _exception(self, record):
            line["exception"] = _encodable(trace)
        fields = {_encodable(str(key)): value for key, value in _fields(record).items()}
        try:
            # The line's own keys win, and stay in front.
            return _json(line | fields | line)
        except (ValueError, TypeError, RecursionError):
            return _json(line | {"fields": _cut(repr(fields))})


def _json(line: Mapping[str, Any]) -> str:
    text = json.dumps(
        line, ensure_ascii=False, allow_nan=False, default=repr, separators=(",", ":")
    )
    return _encodable(text)


def _fields(record: logging.LogRecord) -> Mapping[Any, Any]:
    """Return what was given as ``extra={"fields": {...}}``."""
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, Mapping) else {}


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Return the traceback that goes with *record*, or nothing."""
    parts = [
        formatter.formatException(record.exc_info) if record.exc_info else record.exc_text,
        formatter.formatStack(record.stack_info) if record.stack_info else None,
    ]
    text = "\n".join(filter(None, parts))
    return text if len(text) <= MAX_TEXT_CHARS else _CUT.lstrip() + text[-MAX_TEXT_CHARS:]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARS else text[:MAX_TEXT_CHARS] + _CUT.rstrip()


def _encodable(text: str) -> str:
    """Return *text* without lone surrogates, which a file name may hold and JSON may not."""
    return text.encode("utf-8", "backslashreplace").decode()
