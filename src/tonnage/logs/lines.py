"""From an event to the line that is written: JSON for machines, text for people.

    {"time":"2026-11-22T14:02:11.123+00:00","level":"WARNING","logger":"shop","message":"low","left":3}
    2026-11-22T14:02:11.123+00:00 WARNING  shop: low left=3

The same for records of the standard library and for events of structlog, and the same keys as in
Tonnage's own log (:mod:`tonnage.ops.logging`). Promises one line an event
(in text an exception follows it, indented), of :data:`MAX_LINE_BYTES` or little more: what is too
long is cut. Secrets are hidden as :mod:`tonnage.logs.masking` says.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tonnage.logs.context import request_id
from tonnage.logs.masking import Mask
from tonnage.logs.texts import (
    cut,
    cut_front,
    encodable,
    failure,
    json_line,
    level_column,
    named_apart,
    visible,
)
from tonnage.units import KIB

#: Of longer lines the fields are cut to a text; message and exception have bounds of their own.
MAX_LINE_BYTES: Final = 32 * KIB

# What every record of the standard library has; all else was given as ``extra``.
_OWN: Final = frozenset(
    (*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message")
)
_formatter: Final = logging.Formatter()


class Lines:
    """How lines look.

    Args:
        as_json: for machines; else for people.
        mask: hides secrets.
        is_colored: whether the level has a colour in a text.
    """

    def __init__(self, *, as_json: bool, mask: Mask, is_colored: bool = False) -> None:
        self._as_json = as_json
        self._mask = mask
        self._is_colored = is_colored

    def of_record(self, record: logging.LogRecord) -> bytes:
        """Return the line of a *record* of the standard library.

        One whose message and arguments do not fit together is named in its place.
        """
        fields = {name: value for name, value in vars(record).items() if name not in _OWN}
        try:
            return self.line(
                record.created,
                record.levelname,
                record.name,
                record.getMessage(),
                fields,
                exception_text(record.exc_info, record.stack_info) or record.exc_text or "",
            )
        except Exception as error:  # noqa: BLE001 - a log must not fail the caller
            at = f"{record.pathname}:{record.lineno}"
            return self.line(record.created, "ERROR", record.name, failure(error), {"at": at})

    def notice(self, lines: int, since: float) -> bytes:
        """Return the line that says how many were dropped *since* (seconds since the epoch)."""
        message = "lines were dropped, since nobody read the log in time"
        fields = {"lines": lines, "since": _time(since)}
        return self.line(datetime.now(UTC).timestamp(), "WARNING", "tonnage.logs", message, fields)

    def line(
        self,
        moment: float,
        level: str,
        logger: str,
        message: object,
        fields: Mapping[str, Any],
        exception: str = "",
    ) -> bytes:
        """Return a line.

        Args:
            moment: when it happened, in seconds since the epoch.
            level: in capitals.
            logger: whose it is.
            message: what happened.
            fields: what belongs to it.
            exception: a traceback, if one does.

        Raises:
            Exception: the message is no text, and its own code that makes one of it fails.
        """
        own = {
            "time": _time(moment),
            "level": level,
            "logger": logger,
            "message": self._mask.text(cut(message if isinstance(message, str) else repr(message))),
        }
        if (served := request_id()) is not None:
            own["request_id"] = served
        if exception:
            own["exception"] = self._mask.text(cut_front(exception))
        shown = self._mask(fields) if fields else {}
        return (self._json if self._as_json else self._text)(own, shown)

    def _json(self, own: dict[str, str], fields: dict[str, Any]) -> bytes:
        line = json_line(own, fields)
        if len(line) > MAX_LINE_BYTES and fields:
            line = json_line(own, {"fields": cut(repr(fields))})
        return f"{line}\n".encode()

    def _text(self, own: dict[str, str], fields: dict[str, Any]) -> bytes:
        level = level_column(own["level"], is_colored=self._is_colored)
        fields = {**named_apart(own, fields)}
        if "request_id" in own:
            fields = {"request_id": own["request_id"], **fields}
        said = "".join(f" {key}={_shown(value)}" for key, value in fields.items())
        text = f"{own['logger']}: {own['message']}{said[:MAX_LINE_BYTES]}"
        if "exception" in own:
            text += f"\n{own['exception']}"
        return f"{own['time']} {level} {visible(encodable(text))}\n".encode()


def exception_text(exc_info: Any, stack: str | None) -> str:
    """Return the traceback of *exc_info*, and *stack* after it; nothing where there are none."""
    # A call of logger.exception() outside of an except clause has no exception.
    trace = _formatter.formatException(exc_info) if exc_info and exc_info[0] else ""
    return "\n".join(filter(None, (trace, stack)))


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def _shown(value: Any) -> str:
    """Return *value* as a person reads it, quoted where it would not be seen where it ends."""
    if isinstance(value, str):
        return value if value and " " not in value and value.isprintable() else repr(value)
    return str(value)
