"""How a statement and the place it comes from are shown in errors and in the log.

Promises: no value is shown, neither parameters nor what is quoted in the text, nor comments; at
most :data:`MOST_CHARACTERS` of a statement. The place is the innermost line of the application:
neither ours nor of the standard library nor of an installed package; also where SQLAlchemy runs
synchronous code for a coroutine, in a greenlet.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

MOST_CHARACTERS: Final = 200
# What is between double quotes is kept, as names are; MySQL has texts there, too. In a plain text a
# backslash before a quote ends the text for some databases and not for others: then all that
# follows is left out.
_PARTS: Final = re.compile(
    r"""
    (?P<comment> --[^\n]*+ | /\*(?:[^*]|\*(?!/))*+(?:\*/)?+ )
    | (?P<name> "[^"]*+"?+ | `[^`]*+`?+ )
    | (?P<value>
        \b[eE]'(?:[^'\\]|''|\\.)*+'?+
        | '(?:[^'\\]|''|\\[^'])*+(?:'|\\'.*+|\\?+\Z)
        | (?<!\w)\$(?P<tag>[A-Za-z_]\w*|)\$.*?(?:\$(?P=tag)\$|\Z)
    )
    """,
    re.DOTALL | re.VERBOSE,
)
# Where SQLAlchemy puts the values of an IN when it executes the statement.
_EXPANDED: Final = re.compile(r"__\[POSTCOMPILE_\w+\]")
# What lies between an application and its database, wherever it is installed.
_BETWEEN: Final = frozenset(
    ("aiosqlite", "asyncpg", "greenlet", "psycopg", "pymongo", "sqlalchemy", "tonnage")
)
# Longer texts are not searched further: what they quote ends beyond what is shown.
_MOST_SEARCHED: Final = 4_000


def shortened(statement: str) -> str:
    """Return the beginning of *statement* in one line, without values and comments."""
    text = _EXPANDED.sub("...", _PARTS.sub(_shown, statement[:_MOST_SEARCHED]))
    text = " ".join(text.split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."


def _shown(part: re.Match[str]) -> str:
    if part["name"] is not None:
        return part["name"]
    return " " if part["comment"] is not None else "?"


def here() -> str:
    """Return the line of the application that is being run, as in ``app/events.py:42``."""
    for frame in _frames():
        path = frame.f_code.co_filename
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package not in _BETWEEN and not path.startswith(("<", *_libraries())):
            return f"{_relative(path)}:{frame.f_lineno}"
    return "a line of no application"


def _frames() -> Iterator[FrameType]:
    """Yield the frames of the running code, the innermost first, also across greenlets."""
    yield from _and_back(sys._getframe(1))
    module = sys.modules.get("greenlet")
    # The frames of one greenlet end where it began; who waits for it is its parent.
    waiting = module.getcurrent().parent if module is not None else None
    while waiting is not None:
        yield from _and_back(waiting.gr_frame)
        waiting = waiting.parent


def _and_back(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        if frame.f_code.co_name == "greenlet_spawn":
            # SQLAlchemy's: it awaits what the code in this greenlet waits for just now.
            child = frame.f_locals.get("context")
            yield from _and_back(getattr(child, "gr_frame", None))
        frame = frame.f_back


@cache
def _libraries() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found = {path for name in names if (path := sysconfig.get_path(name))}
    # A project may lie in the directory of a virtual environment; its packages do not.
    return tuple(f"{path}{os.sep}" for path in sorted(found))


def _relative(path: str) -> str:
    here_path = os.getcwd() + os.sep
    return path[len(here_path) :] if path.startswith(here_path) else path
