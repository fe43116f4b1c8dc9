"""A frame of ``tonnage top``: the server's state, what is chosen and a size give lines.

Pure. Promises a frame of exactly that size, however small it is: what does not fit goes, from the
lists first, and what is left of the keys last. At 80 by 24 all has its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tonnage.commands.terminal import tank
from tonnage.commands.terminal.frame import Line, Span, fit, line
from tonnage.commands.terminal.lists import NAMES, clock, draw, tables, width_of
from tonnage.commands.terminal.view import View
from tonnage.units import counted, format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KEYS: Final = " q quit  c collect  r recycle  Tab next list  Up/Down choose"
_NO_LISTS: Final = " too low for the lists"
#: A heading and a row.
LEAST_LIST: Final = 2
# Below so many, what is missing is no surprise.
_LEAST_ABOVE: Final = 4
# Where no width is asked for: it has room for the title and the level.
_WIDE: Final = 100
# Below so many lines there is no graph, and from so many on a higher one.
_LOW: Final = 20
_TALL: Final = 34


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown.

    Attributes:
        state: of the server, as ``GET /tonnage/state`` gives it; empty: there is none yet.
        history: as ``GET /tonnage/history``.
        problem: why the server does not answer; empty: it does.
    """

    state: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is drawn on: a size in cells, and what it can show."""

    width: int
    height: int
    is_colored: bool = False
    is_ascii: bool = False


def frame(shown: Shown, view: View, canvas: Canvas) -> list[Line]:
    """Return the frame that shows *shown*, with what *view* has chosen, on *canvas*."""
    if canvas.height <= 0:
        return []
    room = canvas.height - 1
    above = _above(shown, canvas)[:room]
    if room - len(above) < LEAST_LIST and room > _LEAST_ABOVE:
        above = above[: room - 1]
        below = [line(canvas.width, Span(_NO_LISTS, "bold"))]
    else:
        below = _lists(shown, view, canvas.width, room - len(above))
    blank = [line(canvas.width) for _ in range(room - len(above) - len(below))]
    return [*above, *below, *blank, _footer(shown, view, canvas.width)]


def everything(shown: Shown, width: int | None) -> list[Line]:
    """Return all there is of *shown*, without colours and keys: for a file or a pipe.

    Args:
        shown: what is shown.
        width: in cells; None: lists are as wide as their rows.
    """
    canvas = Canvas(width or _WIDE, _LOW, is_ascii=True)
    lists = [
        drawn
        for table in tables(shown.state).values()
        for drawn in draw(table, width or width_of(table), 1 + max(1, len(table.rows)), chosen=None)
    ]
    return [*_above(shown, canvas), *lists]


def _above(shown: Shown, canvas: Canvas) -> list[Line]:
    """Return title, level, tank and graph."""
    state, width, is_colored = shown.state, canvas.width, canvas.is_colored
    rows = 0 if canvas.height < _LOW else 4 if canvas.height >= _TALL else 2
    return [
        _title(state, width),
        _level(state, width),
        tank.bar(state, width, is_colored=is_colored),
        tank.marks(state, width),
        *tank.legend(state, width, is_colored=is_colored),
        *tank.graph(state, shown.history, width, rows, is_plain=canvas.is_ascii),
    ]


def _title(state: Mapping[str, Any], width: int) -> Line:
    server, status = state.get("server", {}), state.get("status", {})
    parts = [f"{server.get('name', '-')}", f"pid {server.get('pid', '-')}"]
    if "uptime_seconds" in status:
        parts.append(f"up {format_seconds(status['uptime_seconds'])}")
    version = f" tonnage {server.get('version', '')} "
    return line(width, Span(version, "bold"), Span("  ".join(parts)), right=f"{clock(state)} ")


def _level(state: Mapping[str, Any], width: int) -> Line:
    status = state.get("status", {})
    level = str(status.get("level", "-"))
    style = level.lower() if level in tank.LEVELS else "plain"
    held = (
        f" {format_bytes(status.get('used_bytes', 0))} of "
        f"{format_bytes(status.get('limit_bytes', 0))} ({status.get('usage_percent', 0)} %)"
    )
    since = f" for {format_seconds(status.get('level_seconds', 0.0))} "
    return line(width, Span(f" {level} ", style), Span(since), Span(held), right=_crew(state))


def _crew(state: Mapping[str, Any]) -> str:
    """Return how busy the server is, and what is not as it should be."""
    status = state.get("status", {})
    rate = sum(route.get("per_second") or 0 for route in state.get("routes", ()))
    parts = [
        f"{rate:.0f} req/s",
        f"{status.get('ready_workers', 0)}/{status.get('desired_workers', 0)} workers",
    ]
    if jobs := status.get("jobs", {}).get("running"):
        parts.append(counted(jobs, "job"))
    if status.get("is_blind"):
        parts.append("memory unreadable")
    if status.get("is_stopping"):
        parts.append("stopping")
    return "  ".join(parts) + " "


def _lists(shown: Shown, view: View, width: int, room: int) -> list[Line]:
    """Return the lists, in *room* lines at most; the one that is chosen has most."""
    found = tables(shown.state)
    wanted = {name: 1 + max(1, len(table.rows)) for name, table in found.items()}
    heights = shares(wanted, room, view.focus)
    return [
        drawn
        for name, table in found.items()
        for drawn in draw(
            table, width, heights[name], chosen=view.chosen if name == view.focus else None
        )
    ]


def shares(wanted: Mapping[str, int], room: int, focus: str) -> dict[str, int]:
    """Return how many of *room* lines each list gets of those *wanted*: *focus* before others.

    Each has its heading and a row before any has more; the last ones go where that cannot be. What
    the focus leaves, the others get line by line in turn.
    """
    order: Sequence[str] = sorted(NAMES, key=lambda name: name != focus)
    heights = dict.fromkeys(NAMES, 0)
    for name in order:
        if room >= LEAST_LIST:
            heights[name] = LEAST_LIST
            room -= LEAST_LIST
    if heights.get(focus):
        more = min(room, wanted[focus] - LEAST_LIST)
        heights[focus] += more
        room -= more
    hungry = [name for name in order if 0 < heights[name] < wanted[name]]
    while hungry and room:
        for name in hungry[:room]:
            heights[name] += 1
        room -= len(hungry[:room])
        hungry = [name for name in hungry if heights[name] < wanted[name]]
    return heights


def _footer(shown: Shown, view: View, width: int) -> Line:
    if view.asked is not None:
        return line(width, Span(f" {view.asked.question} y / n", "chosen"))
    if shown.problem:
        text = f" no answer since {clock(shown.state)}, asking again: {shown.problem}"
        return line(width, Span(fit(text, width - 8), "critical"), right="q quit ")
    if view.said:
        return line(width, Span(f" {view.said}", "bold"))
    return line(width, Span(_KEYS, "dim"))
