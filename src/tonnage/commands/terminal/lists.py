"""Workers, routes, stores and events as tables: headings, rows, and how the rows look.

Pure. A figure that the server does not tell is a dash.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tonnage.commands.terminal.frame import Line, Span, cells, fit, line
from tonnage.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: In the order in which they are shown.
NAMES: Final = ("workers", "routes", "stores", "events")
# Of the column that takes what is left.
_LEAST_WIDE: Final = 8


class Row(NamedTuple):
    """A row of a table: its cells, and its style."""

    cells: tuple[str, ...]
    style: str = "plain"


class Table(NamedTuple):
    """A table.

    Attributes:
        name: one of :data:`NAMES`.
        heads: what is above its columns.
        rows: the rows.
        wide: which column takes the room that is left, and stands to the left.
    """

    name: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    wide: int


def tables(state: Mapping[str, Any]) -> dict[str, Table]:
    """Return the tables of *state*, by name."""
    workers: Sequence[Mapping[str, Any]] = state.get("status", {}).get("workers", ())
    return {
        "workers": Table(
            "workers",
            ("worker", "pid", "age", "own", "shared", "in flight", "waiting", "requests", "state"),
            tuple(map(_worker, sorted(workers, key=lambda each: each.get("index", 0)))),
            wide=8,
        ),
        "routes": Table(
            "routes",
            ("route", "/s", "p50", "p99", "errors", "shed", "costs", "at worst"),
            tuple(map(_route, state.get("routes", ()))),
            wide=0,
        ),
        "stores": Table(
            "stores",
            ("store", "now"),
            tuple(map(_store, state.get("stores", ()))),
            wide=1,
        ),
        "events": Table(
            "events",
            ("time", "level", "event"),
            tuple(map(_event, state.get("events", ()))),
            wide=2,
        ),
    }


def draw(table: Table, width: int, height: int, *, chosen: int | None) -> list[Line]:
    """Return *table* in exactly *height* lines, so scrolled that the *chosen* row is seen.

    Args:
        table: what is shown.
        width: in cells.
        height: in lines, the heading among them, which says how many rows are not seen; 0: nothing
            is shown.
        chosen: which row is; None: this table is not the one that keys are for, as ">" says.
    """
    if height <= 0:
        return []
    room = height - 1
    place = max(0, min(chosen or 0, len(table.rows) - 1))
    first = max(0, place - room + 1)
    seen = table.rows[first : first + room]
    heads = list(table.heads)
    if len(seen) < len(table.rows):
        heads[table.wide] += f" (+{len(table.rows) - len(seen)} more)"
    widths = _widths([tuple(heads), *(row.cells for row in seen)], table.wide, width)

    def drawn(texts: Sequence[str], style: str, sign: str = " ") -> Line:
        return line(width, Span(fit(sign + _joined(table, texts, widths), width), style))

    rows = [
        drawn(row.cells, "chosen" if chosen is not None and first + number == place else row.style)
        for number, row in enumerate(seen)
    ]
    if not table.rows:
        rows = [line(width, Span(f" no {table.name}", "dim"))][:room]
    blank = [line(width) for _ in range(room - len(rows))]
    return [drawn(heads, "bold", " " if chosen is None else ">"), *rows, *blank]


def width_of(table: Table) -> int:
    """Return how wide *table* is if nothing of it is cut."""
    columns = zip(table.heads, *(row.cells for row in table.rows), strict=True)
    widths = [max(map(cells, column)) for column in columns]
    widths[table.wide] = max(_LEAST_WIDE, widths[table.wide])
    return 1 + sum(widths) + 2 * (len(widths) - 1)


def _widths(rows: Sequence[Sequence[str]], wide: int, width: int) -> list[int]:
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    others = sum(widths) - widths[wide] + 2 * (len(widths) - 1) + 1
    # Where the others leave no room, the line is cut at its end.
    widths[wide] = max(_LEAST_WIDE, width - others)
    return widths


def _joined(table: Table, texts: Sequence[str], widths: Sequence[int]) -> str:
    # Figures stand to the right, words to the left.
    has_figures = table.name in ("workers", "routes")
    return "  ".join(
        fit(text, width, to_right=has_figures and column != table.wide)
        for column, (text, width) in enumerate(zip(texts, widths, strict=True))
    )


def _worker(worker: Mapping[str, Any]) -> Row:
    own, pss = worker.get("uss_bytes"), worker.get("pss_bytes")
    shared = None if own is None or pss is None else max(0, pss - own)
    state = str(worker.get("state", "-"))
    return Row(
        (
            _number(worker.get("index")),
            _number(worker.get("pid")),
            _age(worker.get("age_seconds")),
            _bytes(own),
            _bytes(shared),
            *(_number(worker.get(key)) for key in ("in_flight", "waiting", "requests")),
            state,
        ),
        {"STUCK": "critical", "STARTING": "dim", "DRAINING": "dim"}.get(state, "plain"),
    )


def _route(route: Mapping[str, Any]) -> Row:
    statuses: Sequence[int] = route.get("statuses") or ()
    per_second = route.get("per_second")
    return Row(
        (
            str(route.get("name", "-")),
            "-" if per_second is None else f"{per_second:.1f}",
            _seconds(route.get("p50_seconds")),
            _seconds(route.get("p99_seconds")),
            _number(statuses[4] if len(statuses) > 4 else None),
            _number(route.get("shed")),
            _bytes(route.get("learned_mean_bytes")),
            _bytes(route.get("learned_worst_bytes")),
        ),
        "warning" if route.get("shed") else "plain",
    )


def _store(store: Mapping[str, Any]) -> Row:
    figures = {**store.get("now", {}), **store.get("counts", {})}
    # What has never happened is most of it.
    said = "  ".join(
        f"{name.removesuffix('_bytes')} {_figure(name, value)}"
        for name, value in figures.items()
        if value
    )
    return Row((f"{store.get('kind', '-')} {store.get('name', '-')}", said or "nothing yet"))


def _event(event: Mapping[str, Any]) -> Row:
    level = str(event.get("level", "-"))
    style = {"WARNING": "warning", "ERROR": "critical", "CRITICAL": "exhausted"}.get(level, "plain")
    return Row((clock(event), level, " ".join(str(event.get("text", "")).split())), style)


def clock(found: Mapping[str, Any]) -> str:
    """Return the time of day of *found*, which has a ``time`` in unix seconds."""
    moment = found.get("time")
    return "-" if moment is None else time.strftime("%H:%M:%S", time.localtime(moment))


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else format_seconds(seconds)


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _figure(name: str, value: Any) -> str:
    return format_bytes(value) if name.endswith("bytes") else _number(value)


def _bytes(count: float | None) -> str:
    return "-" if count is None else format_bytes(count)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return "-" if value is None else str(value)
