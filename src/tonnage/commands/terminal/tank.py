"""The limit as a tank: who holds what, where the levels begin, and the last minutes.

Pure. Whoever holds anything has at least one cell; without colours, each is shown by a letter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.commands.terminal.frame import Line, Span, cells, line
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Who holds memory, as the state of the server has it, with a letter and a name.
HOLDERS: Final = (
    ("supervisor", "s", "supervisor"),
    ("zygote", "z", "zygote"),
    ("workers_shared", "w", "workers, shared"),
    ("workers_own", "W", "workers, grown"),
    ("jobs", "j", "jobs"),
    ("unexplained", "u", "unexplained"),
    ("cache", "c", "file cache"),
)
LEVELS: Final = ("OK", "WARNING", "CRITICAL", "EXHAUSTED")
_MARKS: Final = (
    ("warning_bytes", "W", "warning"),
    ("critical_bytes", "C", "critical"),
    ("exhausted_bytes", "E", "exhausted"),
    ("ceiling_bytes", "|", "wait"),
)
_FULL_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_ASCII_BLOCKS: Final = " ..::-=+#"
_NOT_HELD: Final = ("time", "cache", "level")


def bar(state: Mapping[str, Any], width: int, *, is_colored: bool) -> Line:
    """Return the tank: what is used from the left, the file cache at the right end."""
    tank, limit_bytes = state.get("tank", {}), limit_of(state)
    inside = max(0, width - 2)
    spans = [Span("[", "dim")]
    held_bytes = drawn = 0
    for name, letter, _ in HOLDERS[:-1]:
        held_bytes += max(0, tank.get(name, 0))
        end = min(inside, round(inside * held_bytes / limit_bytes))
        end = max(end, min(inside, drawn + 1)) if tank.get(name, 0) > 0 else max(end, drawn)
        if end > drawn:
            spans.append(_block(name, letter, end - drawn, is_colored=is_colored))
        drawn = end
    cached = min(inside - drawn, round(inside * max(0, tank.get("cache", 0)) / limit_bytes))
    spans.append(Span("." * (inside - drawn - cached), "dim"))
    if cached:
        spans.append(_block("cache", "c", cached, is_colored=is_colored))
    return line(width, *spans, Span("]", "dim"))


def marks(state: Mapping[str, Any], width: int) -> Line:
    """Return the line below the tank: where the levels begin, and what they are called."""
    found = state.get("marks", {})
    inside, limit_bytes = max(0, width - 2), limit_of(state)
    places = {
        1 + min(inside - 1, round(inside * found.get(key, 0) / limit_bytes)): sign
        for key, sign, _ in _MARKS
        if inside and found.get(key)
    }
    first = min(places, default=width)
    row = next((f" {told}" for told in _told(found) if cells(told) + 2 <= first), "")
    row = f"{row:{width}}"
    for place, sign in places.items():
        row = row[:place] + sign + row[place + 1 :]
    return line(width, Span(row, "dim"))


def _told(found: Mapping[str, int]) -> Iterator[str]:
    """Yield what the marks are called and where they are, shorter and shorter."""
    known = [(sign, name, format_bytes(found[key])) for key, sign, name in _MARKS if found.get(key)]
    units = {size.rpartition(" ")[2] for _, _, size in known}
    if len(units) == 1:
        unit = units.pop()
        named = (f"{sign} {name} {size.removesuffix(f' {unit}')}" for sign, name, size in known)
        yield f"{'  '.join(named)} {unit}"
    yield "  ".join(f"{sign} {size}" for sign, _, size in known)


def legend(state: Mapping[str, Any], width: int, *, is_colored: bool) -> list[Line]:
    """Return the lines that say who holds how much; as many as it takes."""
    tank = state.get("tank", {})
    rows: list[list[Span]] = [[Span(" ")]]
    used = 1
    for name, letter, called in HOLDERS:
        if not tank.get(name):
            continue
        sign = _block(name, letter, 1, is_colored=is_colored)
        text = f" {called} {format_bytes(tank[name])}  "
        if used + 1 + cells(text) > width and used > 1:
            rows.append([Span(" ")])
            used = 1
        rows[-1] += [sign, Span(text)]
        used += 1 + cells(text)
    return [line(width, *spans) for spans in rows]


def graph(
    state: Mapping[str, Any], history: Mapping[str, Any], width: int, height: int, *, is_plain: bool
) -> list[Line]:
    """Return what was used over the last minutes, the newest at the right; *height* lines.

    At its left are its scales: the limit, which is its whole height, and the time.

    Args:
        state: for the limit.
        history: as the server keeps it; may be empty.
        width: in cells.
        height: in lines.
        is_plain: whether it has to do with ASCII.
    """
    span, top = _span_of(history), f" {format_bytes(limit_of(state))} "
    left = max(len(span), len(top))
    room = width - left
    columns = _columns(history, max(0, room))
    blocks = _ASCII_BLOCKS if is_plain else _FULL_BLOCKS
    eighths = [
        min(height * 8, max(1, round(height * 8 * used / limit_of(state)))) for used, _ in columns
    ]
    rows = []
    blank = " " * max(0, room - len(columns))
    for row in range(height - 1, -1, -1):
        label = span if row == 0 else top if row == height - 1 else ""
        spans = [Span(f"{label:>{left}}{blank}", "dim")]
        for eighth, (_, level) in zip(eighths, columns, strict=True):
            sign = blocks[min(8, max(0, eighth - row * 8))]
            style = LEVELS[min(max(level, 0), 3)].lower()
            if spans[-1].style == style:
                spans[-1] = Span(spans[-1].text + sign, style)
            else:
                spans.append(Span(sign, style))
        rows.append(line(width, *spans))
    return rows


def limit_of(state: Mapping[str, Any]) -> int:
    """Return the limit in bytes; 1 where it is not known, so that one can divide by it."""
    return max(1, int(state.get("status", {}).get("limit_bytes") or 1))


def _block(name: str, letter: str, count: int, *, is_colored: bool) -> Span:
    return Span((" " if is_colored else letter) * count, name)


def _columns(history: Mapping[str, Any], width: int) -> list[tuple[float, int]]:
    """Return of each column what was used, in bytes, and the level: the worst of its rows."""
    names: Sequence[str] = history.get("columns", ())
    held = [place for place, name in enumerate(names) if name not in _NOT_HELD]
    rows = [
        (sum(row[place] for place in held), int(row[names.index("level")]))
        for row in history.get("rows", ())
    ]
    each = -(-len(rows) // width) if width and rows else 1
    starts = range(len(rows) % each - each if len(rows) % each else 0, len(rows), each)
    chunks = [rows[max(0, start) : start + each] for start in starts]
    return [(max(used for used, _ in chunk), max(level for _, level in chunk)) for chunk in chunks]


def _span_of(history: Mapping[str, Any]) -> str:
    minutes = len(history.get("rows", ())) * history.get("every_seconds", 0) / 60
    return f" {max(1, round(minutes))} min " if minutes else " no history yet "
