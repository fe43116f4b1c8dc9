"""From tracemalloc's traces to lines of code: who is to blame for a block, and what the line says.

A block is laid to the innermost frame of the application on its way; where there is none among the
frames kept, to the innermost of a library; and else to the server's own. Used by
:mod:`tonnage.server.leaks.trace`, which says what the figures mean.
"""

from __future__ import annotations

import os
import sysconfig
import tracemalloc
from collections import defaultdict
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

import tonnage

#: A line of a file.
Where = tuple[str, int]
#: The frames that led to an allocation, innermost first.
Way = tuple[Where, ...]
#: Bytes and blocks.
Amount = tuple[int, int]

PATH_CHARS: Final = 120
CODE_CHARS: Final = 100

_OWN = frozenset({__file__, tracemalloc.__file__, str(Path(__file__).with_name("trace.py"))})
_SERVER_PACKAGES = frozenset(
    {"a2wsgi", "anyio", "h11", "httptools", "tonnage", "uvicorn", "uvloop", "websockets"}
)
_PACKAGES = ("site-packages" + os.sep, "dist-packages" + os.sep)
_TONNAGE = str(Path(tonnage.__file__).parent) + os.sep
_STDLIB = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "scripts"))


def traces_now() -> list[Any]:
    """Return tracemalloc's traces: tuples of domain, size, way and depth.

    The tuples behind a Snapshot, since its own statistics take 7 us for each of them, and these
    0.4 (measured); their form is the same in CPython 3.9 to 3.14.
    """
    snapshot: Any = tracemalloc.take_snapshot()
    traces: list[Any] = snapshot.traces._traces
    return traces


def by_line(traces: list[Any]) -> tuple[dict[Where, Amount], dict[Where, Way]]:
    """Return what is alive by the line to blame, and the way that most of it came.

    As large as the program has lines that allocate, not as there are traces. What tracing itself
    allocated is left out.
    """
    # Only lookups and appends of what is there: each object made here would be traced as well.
    by_way: defaultdict[Way, list[int]] = defaultdict(list)
    for _, size, way, _ in traces:
        by_way[way].append(size)
    alive: dict[Where, Amount] = {}
    ways: dict[Where, Way] = {}
    for way, sizes in sorted(by_way.items(), key=lambda item: sum(item[1])):
        if way[0][0] not in _OWN:
            where = to_blame(way)
            size, blocks = alive.get(where, (0, 0))
            alive[where] = (size + sum(sizes), blocks + len(sizes))
            ways[where] = way
    return alive, ways


def to_blame(way: Way) -> Where:
    """Return the line of *way* that a person would look at first."""
    for whose in ("app", "library"):
        for where in way:
            if whose_is(where[0]) == whose:
                return where
    return way[0]


@lru_cache(maxsize=1024)
def whose_is(file: str) -> str:
    """Return ``app``, ``library``, or ``server`` for what runs below the application."""
    if file.startswith(_TONNAGE):
        return "server"
    for packages in _PACKAGES:
        _, found, inside = file.partition(packages)
        if found:
            return "server" if inside.split(os.sep)[0] in _SERVER_PACKAGES else "library"
    if file.startswith(_STDLIB):
        return "server" if f"{os.sep}asyncio{os.sep}" in file else "library"
    # <string>, <frozen importlib._bootstrap>: made by code, not written in a file.
    return "library" if file.startswith("<") else "app"


def short_path(file: str) -> str:
    """Return *file* as a person knows it: from the working directory, or from its package on."""
    for packages in _PACKAGES:
        file = file.rpartition(packages)[2]
    shown = file.removeprefix(os.getcwd() + os.sep)
    return shown if len(shown) <= PATH_CHARS else "..." + shown[3 - PATH_CHARS :]


def code_of(where: Where) -> str:
    """Return the text of the line, as the file has it now; empty where there is none to read."""
    file, number = where
    try:
        # Not through linecache: that would keep the whole file in memory.
        with open(file, encoding="utf-8", errors="replace") as lines:
            text = next(islice(lines, number - 1, number), "").strip()
    except OSError:
        return ""
    return text if len(text) <= CODE_CHARS else text[: CODE_CHARS - 3] + "..."
