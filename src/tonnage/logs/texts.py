"""Texts in a log: bounded, and without anything that a terminal or a parser would obey.

A message may quote what a client has sent, and hold a whole request. Hides no secrets: that is
:mod:`tonnage.logs.masking`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

#: Longer texts are cut. The end of a traceback is what tells most, and the beginning of a message.
MAX_TEXT_CHARS: Final = 8192
_CUT: Final = " [...] "

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


def encodable(text: str) -> str:
    """Return *text* without lone surrogates, which a file name may hold and JSON may not."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def json_text(line: Mapping[str, Any], shown: Callable[[Any], str] = repr) -> str:
    """Return *line* as JSON; *shown* makes a text of what JSON does not know.

    Raises:
        ValueError: it holds a number that is none, or refers to itself.
        TypeError: a key is no text.
        RecursionError: it is too deep.
    """
    text = json.dumps(line, ensure_ascii=False, allow_nan=False, default=shown, separators=_TIGHT)
    # JSON itself spells out the control characters of ASCII, but for the last one.
    return encodable(text if text.isprintable() else text.translate(_ESCAPED))


_TIGHT: Final = (",", ":")
_ESCAPED: Final = {code: f"\\u{code:04x}" for code in (*range(127, 160), 0x2028, 0x2029)}
