"""``GET /logs``: the last lines of all processes of this server, in the order of their time.

    /logs?limit=100&level=warning&worker=2     the newest lines; worker=supervisor, worker=zygote
    /logs?after=NEXT                           what came since, from the oldest on

    {"lines": [{"time": 1763815331.2, "process": "worker 2", "level": "WARNING", "text": "..."}],
     "missed": 0, "next": "4711~0.120.3"}

``text`` is the line as it was written, without colours; ``next`` is what to ask for then, and
``missed`` how many lines were overwritten before they were asked for.

Promises: an answer of at most :data:`MOST_LINES` lines and :data:`MOST_BYTES`; asked with ``after``
again and again, each line comes once. Reads what processes have noted (:mod:`tonnage.logs.ring`)
and nothing from files; what they print by themselves is not there.
"""

from __future__ import annotations

import json
import os
import re
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from tonnage.answer import Answer
from tonnage.errors import StoreError
from tonnage.governor.page import MAX_WORKERS
from tonnage.logs.ring import RING_BYTES, lines_ever, read, region_of
from tonnage.logs.texts import LEVELS
from tonnage.ops.query import QueryError, read_query, whole_number
from tonnage.units import KIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tonnage.host.commons import Region
    from tonnage.logs.ring import Noted

PATH: Final = "/logs"
MOST_LINES: Final = 1000
#: Less than the door lets through, since what surrounds the lines comes to it.
MOST_BYTES: Final = 192 * KIB
USUAL_LINES: Final = 100

# What each format of ours has near its beginning; a colour is left away.
_COLOUR: Final = re.compile(rb"\x1b\[[0-9;]*m")
_LEVEL: Final = re.compile(rb'^(?:\{.{0,80}?"level":"|\S{8,32} )(%b)\b' % "|".join(LEVELS).encode())
#: Those that are no workers, as they can be asked for.
OTHERS: Final = ("supervisor", "zygote")
_SECOND: Final = "second "
_OTHERS: Final = (*OTHERS, f"{_SECOND}zygote")


class _Seen(NamedTuple):
    """How far a ring has been read: the position behind the last line, and how many came so far."""

    position: int = 0
    lines: int = 0


class _Line(NamedTuple):
    """A line, so that they sort by their time, and those of one ring by their number."""

    time: float
    ring: int
    number: int
    process: str
    noted: Noted

    @property
    def end(self) -> _Seen:
        """How far the ring has been read, once this line has."""
        return _Seen(self.noted.end, self.number + 1)


def log_views(slots: Callable[[], int]) -> Mapping[str, Callable[[str], Answer]]:
    """Return what answers ``GET /logs``, by its path.

    Args:
        slots: how many places for workers there are.
    """
    return {PATH: lambda query: answer(query, slots())}


def answer(query: str, slots: int) -> Answer:
    """Return the lines that *query* asks for, of a server with *slots* for workers.

    Raises:
        QueryError: it makes no sense.
    """
    asked = read_query(query, "after", "level", "limit", "worker")
    limit = whole_number("limit", asked.get("limit", str(USUAL_LINES)), 1, MOST_LINES)
    least = _least(asked.get("level"))
    only = _process(asked["worker"], slots) if "worker" in asked else None
    regions = _regions(slots, only)

    def wanted(line: _Line) -> bool:
        return not least or _severity(line.noted.line) >= least

    if "after" in asked:
        seen = _seen(asked["after"])
        seen = _anew(regions) if seen is None else seen
        told, ends, missed = _oldest(regions, wanted, limit, seen)
    else:
        # Of a long ring only the end is looked at, where no line of it can be left out.
        last = RING_BYTES if least else limit
        lines = sorted(line for ring in regions for line in _lines(ring, regions, last=last))
        told, missed = list(_bounded(filter(wanted, reversed(lines)), limit))[::-1], 0
        ends = {line.ring: line.end for line in lines}
    body = f'{{"missed":{missed},"next":"{_token(ends)}","lines":[{",".join(told)}]}}'
    return Answer(200, body.encode())


def _process(text: str, slots: int) -> str:
    """Return the name of the process that *text* means.

    Raises:
        QueryError: there is no such one.
    """
    if text in OTHERS:
        return text
    number = whole_number("worker", text, 0, MAX_WORKERS * 100)
    if number >= slots:
        raise QueryError(
            f"there is no worker {number}: they have the numbers 0 to {slots - 1}, those that take "
            f"over from others among them; "
            f"{' and '.join(OTHERS)} can be named too"
        )
    return f"worker {number}"


def _bounded(lines: Iterable[_Line], limit: int) -> Iterator[str]:
    """Yield *lines* as the answer has them: *limit* at most, and what fits."""
    left_bytes = MOST_BYTES
    for line in islice(lines, limit):
        text = _told(line)
        left_bytes -= len(text)
        if left_bytes < 0:
            return
        yield text


def _oldest(
    regions: Mapping[int, tuple[str, Region]],
    wanted: Callable[[_Line], bool],
    limit: int,
    seen: Mapping[int, _Seen],
) -> tuple[list[str], dict[int, _Seen], int]:
    """Return the beginning of what came since *seen*, as the answer has it.

    With it, how far each ring is read then, and how many lines were overwritten in between. No more
    lines are looked at than that takes: those that nobody wants, too, are read but once.
    """
    told: list[str] = []
    ends, missed, left_bytes = dict(seen), 0, MOST_BYTES
    for line in merge(*(_lines(ring, regions, seen.get(ring)) for ring in regions)):
        if wanted(line):
            text = _told(line)
            left_bytes -= len(text)
            if len(told) == limit or left_bytes < 0:
                break
            told.append(text)
        missed += max(0, line.number - ends.get(line.ring, _Seen()).lines)
        ends[line.ring] = line.end
    return told, ends, missed


def _regions(slots: int, only: str | None) -> dict[int, tuple[str, Region]]:
    """Return the rings that there can be, or *only* those of one: the process's name, by number."""
    names = [*_OTHERS, *(f"worker {index}" for index in range(slots))]
    found: dict[int, tuple[str, Region]] = {}
    for number, name in enumerate(names):
        process = name.removeprefix(_SECOND)
        if only in (None, process):
            try:
                found[number] = process, region_of(name)
            except StoreError:  # no room is left: that process has none either
                break
    return found


def _lines(
    ring: int,
    regions: Mapping[int, tuple[str, Region]],
    seen: _Seen | None = None,
    last: int = RING_BYTES,
) -> Iterator[_Line]:
    """Yield what is new in *ring*, not more than the *last* lines."""
    process, region = regions[ring]
    if count := lines_ever(region):
        position = 0 if seen is None else seen.position
        for noted in read(region, position, number=max(0, count - last)):
            yield _Line(noted.time, ring, noted.number, process, noted)


def _anew(regions: Mapping[int, tuple[str, Region]]) -> dict[int, _Seen]:
    """Return where whoever has seen nothing begins: what was overwritten before is not missed."""
    firsts = (next(_lines(ring, regions), None) for ring in regions)
    return {line.ring: _Seen(0, line.number) for line in firsts if line is not None}


def _told(line: _Line) -> str:
    text = _plain(line.noted.line)
    return json.dumps(
        {
            "time": round(line.time, 6),
            "process": line.process,
            "level": LEVELS[_severity(text)],
            "text": text.decode("utf-8", "replace"),
        },
        ensure_ascii=True,
        separators=(",", ":"),
    )


def _plain(line: bytes) -> bytes:
    return _COLOUR.sub(b"", line) if b"\x1b" in line else line


def _severity(line: bytes) -> int:
    """Return the place of the level of *line* in :data:`LEVELS`; one without counts as INFO."""
    found = _LEVEL.match(_plain(line[:128]))
    return LEVELS.index(found[1].decode()) if found else 1


def _least(level: str | None) -> int:
    if level is None:
        return 0
    if level.upper() not in LEVELS:
        raise QueryError(f"level={level[:20]!r} is none: write one of {', '.join(LEVELS).lower()}")
    return LEVELS.index(level.upper())


# What to ask for next: who answers, and of each ring its number, position and lines.


def _token(ends: Mapping[int, _Seen]) -> str:
    parts = (f"{ring}.{end.position}.{end.lines}" for ring, end in ends.items())
    return f"{os.getpid()}~{'_'.join(parts)}"


def _seen(token: str) -> dict[int, _Seen] | None:
    """Return what *token* stands for; None where it is another server's.

    Raises:
        QueryError: it is no such token.
    """
    pid, tilde, rest = token.partition("~")
    try:
        parts = [tuple(map(int, part.split("."))) for part in rest.split("_")] if rest else []
        found = {ring: _Seen(position, lines) for ring, position, lines in parts}
    except ValueError:
        tilde = ""
    if not tilde:
        raise QueryError("after=... is what an answer had as next, and nothing else") from None
    return found if pid == str(os.getpid()) else None
