"""Texts in a log: bounded, and without anything that a terminal or a parser would obey.

A message may quote what a client has sent, and hold a whole request. Hides no secrets: that is
:mod:`tonnage.logs.masking`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

#: By how serious they are.
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
#: Longer texts are cut. The end of a traceback is what tells most, and the beginning of a message.
MAX_TEXT_CHARS: Final = 8192
_CUT: Final = " [...] "

_COLORS: Final = {
    "DEBUG": "\x1b[2m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[1;31m",
}
_PLAIN: Final = "\x1b[0m"

# A line break inside a message is indented, so that it cannot be taken for a line of its own, and
# other control characters are spelled out: those of ASCII, those of Latin-1 (one of which begins
# commands to a terminal as well), and what Unicode takes for the end of a line.
_VISIBLE: Final = {
    **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))},
    0x2028: "\\u2028",
    0x2029: "\\u2029",
    9: "\t",
    10: "\n  ",
}


def cut(text: str) -> str:
    """Return *text*, of which the beginning is kept."""
    return text if len(text) <= MAX_TEXT_CHARS else text[:MAX_TEXT_CHARS] + _CUT.rstrip()


def cut_front(text: str) -> str:
    """Return *text*, of which the end is kept."""
    return text if len(text) <= MAX_TEXT_CHARS else _CUT.lstrip() + text[-MAX_TEXT_CHARS:]


def visible(text: str) -> str:
    """Return *text* with control characters spelled out, and indented after a line break."""
    return text if text.isprintable() else text.translate(_VISIBLE)


def printable(text: str, kept: str = "") -> str:
    """Return *text* with all that a terminal would obey spelled out, but for characters *kept*."""
    return "".join(
        char if char.isprintable() or char in kept else repr(char)[1:-1] for char in text
    )


def encodable(text: str) -> str:
    """Return *text* without lone surrogates, which a file name may hold and JSON may not."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def json_text(line: Mapping[str, Any]) -> str:
    """Return *line* as JSON; what JSON does not know is shown by its ``repr``.

    Raises:
        ValueError: it holds a number that is none, or refers to itself.
        TypeError: a key is no text.
        RecursionError: it is too deep.
    """
    text = json.dumps(line, ensure_ascii=False, allow_nan=False, default=repr, separators=_TIGHT)
    # JSON itself spells out the control characters of ASCII, but for the last one.
    return encodable(text if text.isprintable() else text.translate(_ESCAPED))


def json_line(own: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """Return a line as JSON: its *own* keys in front, then its *fields*, as a text if need be."""
    try:
        return json_text({**own, **named_apart(own, fields)})
    except (ValueError, TypeError, RecursionError):
        return json_text({**own, "fields": cut(repr(fields))})


def named_apart(own: Mapping[str, Any], fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *fields*, of which those called as one of the line's *own* keys get a ``_``."""
    if own.keys().isdisjoint(fields):
        return fields
    found: dict[str, Any] = {}
    for name, value in fields.items():
        apart = name
        while apart in own or (apart != name and apart in fields):
            apart += "_"
        found[apart] = value
    return found


def level_column(level: str, *, is_colored: bool) -> str:
    """Return a *level* as wide as all are, for a terminal in its colour."""
    column = f"{level:<8}"
    return f"{_COLORS[level]}{column}{_PLAIN}" if is_colored and level in _COLORS else column


def failure(error: Exception) -> str:
    """Return what is said in the place of a message that *error* has kept from being made."""
    try:
        shown = repr(error)
    except Exception:  # noqa: BLE001 - the application's, as the one that it is about
        shown = type(error).__name__
    return f"a record could not be formatted: {shown}"


_TIGHT: Final = (",", ":")
_ESCAPED: Final = {code: f"\\u{code:04x}" for code in (*range(127, 160), 0x2028, 0x2029)}
