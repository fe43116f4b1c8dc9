"""What has happened lately: the lines that the supervisor has logged, and workers' alarms.

    events = Events()
    logging.getLogger("tonnage").addHandler(events)

Bounded: :data:`MOST_EVENTS` of :data:`LONGEST_TEXT` characters, and of one kind of line
:data:`MOST_ALIKE`, so that one which comes every minute, or a hundred times a second, does not push
the others out. Secrets are hidden, as in the log. What the log's level leaves out is not here, nor
is the regular line on where memory stands.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any, Final

from tonnage.logs.masking import Mask
from tonnage.logs.texts import cut, failure, visible

MOST_EVENTS: Final = 50
MOST_ALIKE: Final = 10
LONGEST_TEXT: Final = 500

# Comes every half minute; the page's picture has it.
_REGULAR: Final = "memory %s of %s ("

_mask: Final = Mask()


@dataclass(frozen=True, slots=True)
class _Event:
    # The line before its figures were put in.
    kind: str
    time: float
    level: str
    text: str


class Events(logging.Handler):
    """Keeps the last lines of a log, of INFO and above."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._kept: list[_Event] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep *record*; one that cannot be formatted is named in its place."""
        kind = str(record.msg)[:LONGEST_TEXT]
        if kind.startswith(_REGULAR):
            return
        try:
            text = _mask.text(cut(record.getMessage()))
        except Exception as error:  # noqa: BLE001  (as in the log: it must not fail the caller)
            text = failure(error)
        self._keep(_Event(kind, record.created, record.levelname, visible(text)[:LONGEST_TEXT]))

    def add_warning(self, kind: str, text: str) -> None:
        """Keep a warning that a worker has logged, of which the supervisor's log knows nothing."""
        text = visible(_mask.text(cut(text)))[:LONGEST_TEXT]
        self._keep(_Event(kind, time.time(), "WARNING", text))

    def _keep(self, event: _Event) -> None:
        alike = [number for number, each in enumerate(self._kept) if each.kind == event.kind]
        if len(alike) >= MOST_ALIKE:
            del self._kept[alike[0]]
        elif len(self._kept) >= MOST_EVENTS:
            del self._kept[0]
        self._kept.append(event)

    def as_json(self) -> list[dict[str, Any]]:
        """Return them, the newest first."""
        return [
            {"time": round(each.time, 3), "level": each.level, "text": each.text}
            for each in reversed(self._kept)
        ]
