"""What a frame is made of: lines of spans, each a text and the name of its style.

Pure; knows no terminal. Promises lines of exactly the width that was asked for, counted in cells,
whatever the text is: wide characters take two, and what would steer a terminal is a question mark.
"""

from __future__ import annotations

import unicodedata
from typing import Final, NamedTuple

#: Styles that are used; a terminal without colours shows the first row, and the worst as bold.
STYLES: Final = (
    *("plain", "dim", "bold", "chosen"),
    *("ok", "warning", "critical", "exhausted"),
    *("supervisor", "zygote", "workers_shared", "workers_own", "jobs", "unexplained", "cache"),
)


class Span(NamedTuple):
    """A piece of a line."""

    text: str
    style: str = "plain"


Line = tuple[Span, ...]


def cells(text: str) -> int:
    """Return how many cells of a terminal *text* takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def cut(text: str, width: int) -> str:
    """Return the beginning of *text* that fits into *width* cells, printable."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "?" for char in text)
    if cells(text) <= width:
        return text
    kept = ""
    for char in text:
        if cells(kept + char) > width - 1:
            break
        kept += char
    return kept + "~" if width > 0 else ""


def fit(text: str, width: int, *, to_right: bool = False) -> str:
    """Return *text* in exactly *width* cells, cut or padded."""
    text = cut(text, width)
    padding = " " * (width - cells(text))
    return padding + text if to_right else text + padding


def line(width: int, *spans: Span, right: str = "", style: str = "plain") -> Line:
    """Return a line of *width* cells: *spans* from the left, and *right* at its end if it fits."""
    made: list[Span] = []
    left = width
    for span in spans:
        text = cut(span.text, left)
        left -= cells(text)
        if text:
            made.append(Span(text, span.style))
    fits = cells(right) < left
    made.append(Span(fit(right if fits else "", left, to_right=True), style))
    return tuple(made)


def plain(lines: list[Line]) -> str:
    """Return *lines* without styles, and without the blanks at their ends."""
    return "\n".join("".join(span.text for span in spans).rstrip() for spans in lines)


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
