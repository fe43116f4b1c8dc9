"""The state of the server in one JSON object: what the page, ``tonnage top`` and scripts read.

    {"time", "server", "status", "marks", "tank", "routes", "stores", "events", "postmortems",
     "plan", "leaks"}

Sizes in bytes, times in seconds. Pure, but for what it is given to ask. Bounded, since each part
is: 64 workers, :data:`~tonnage.ops.page.routes.MOST_ROUTES` routes,
:data:`~tonnage.ops.figures.records.MOST_STORES` stores, the events,
:data:`MOST_POSTMORTEMS` post-mortems; together some 100 KB at worst, and 10 as a rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.governor.books import PARTS, balanced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tonnage.budget.plan import Plan
    from tonnage.governor.page import Header
    from tonnage.governor.statistics import Statistics
    from tonnage.ops.figures.records import StoreFigures

MOST_POSTMORTEMS: Final = 10
MOST_LEAKS: Final = 10
LONGEST_TEXT: Final = 500
# They are read from a disk, and the page asks every second.
_POSTMORTEMS_SECONDS: Final = 5.0

#: Who holds memory, in the order in which it is drawn; with ``free`` they add up to the limit.
HOLDERS: Final = (*PARTS, "cache")


def tank_of(now: Statistics) -> dict[str, int]:
    """Return who holds how many bytes, and what is free; all add up to the limit.

    Up to ``unexplained`` they are :func:`~tonnage.governor.books.balanced`: they add up to what is
    used, and none is less than nothing.
    """
    held = balanced(now)
    held["cache"] = max(0, min(now.cache_bytes, now.limit_bytes - now.used_bytes))
    held["free"] = now.limit_bytes - now.used_bytes - held["cache"]
    return held


def history_row(now: Statistics, time_seconds: float) -> list[float]:
    """Return what the history keeps of this moment, at *time_seconds* (unix seconds)."""
    tank = tank_of(now)
    return [time_seconds, *(tank[name] for name in HOLDERS), int(now.level)]


def marks_of(header: Header) -> dict[str, int]:
    """Return where the levels begin, above what new requests wait, and the limit."""
    return {
        "warning_bytes": header.warning_bytes,
        "critical_bytes": header.critical_bytes,
        "exhausted_bytes": header.exhausted_bytes,
        "ceiling_bytes": header.ceiling_bytes,
        "limit_bytes": header.limit_bytes,
    }


def plan_of(plan: Plan) -> list[dict[str, Any]]:
    """Return the plan's lines: what was set aside for whom, and why so much."""
    return [
        {"name": line.name, "bytes": line.bytes, "why": f"{line.how}: {line.note}"}
        for line in plan.lines
    ]


def stores_of(stores: Iterable[StoreFigures]) -> list[dict[str, Any]]:
    """Return what caches, writers, pools and the like say, by kind and name."""
    return [
        {
            "kind": store.kind,
            "name": store.name,
            "counts": dict(store.counts),
            "now": dict(store.now),
        }
        for store in sorted(stores, key=lambda store: (store.kind, store.name))
    ]


def leaks_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return those that were detected, each as it is told."""
    return [_cut(leak) for leak in found["leaks"][:MOST_LEAKS]]


class Postmortems:
    """The newest reports on this application; read again at most every five seconds."""

    def __init__(self, read: Callable[[], list[dict[str, Any]]]) -> None:
        self._read = read
        self._kept: list[dict[str, Any]] = []
        self._read_seconds: float | None = None

    def newest(self, now_seconds: float) -> list[dict[str, Any]]:
        """Return at most :data:`MOST_POSTMORTEMS` of them, newest first."""
        if self._read_seconds is None or now_seconds - self._read_seconds >= _POSTMORTEMS_SECONDS:
            self._read_seconds = now_seconds
            own = [each for each in self._read() if each.get("is_own", True)]
            self._kept = [_cut(each) for each in own[:MOST_POSTMORTEMS]]
        return self._kept


def _cut(fields: dict[str, Any]) -> dict[str, Any]:
    """Return *fields* with texts cut to what a line of a page can show."""
    return {
        key: value[:LONGEST_TEXT] if isinstance(value, str) else value
        for key, value in fields.items()
    }
