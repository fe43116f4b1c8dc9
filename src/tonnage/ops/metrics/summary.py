"""The originals' ``/api/metrics``: one JSON object with what a person looks at first.

    {"timestamp", "uptime", "memory": {...}, "dbConnections": [{"count"}],
     "batchWriters": {NAME: {"bufferSize", "totalFlushed", "totalFailed", "totalDropped"}},
     "environment", "version"}

Keys and units are the originals': memory in MB (2**20 bytes), as in ``/health/memory``
(:mod:`tonnage.ops.health`), up-time in seconds. All figures are the whole server's, counts since
its start. ``arrayBuffers`` is 0: Python has none. Pure.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tonnage.ops.health import memory_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tonnage.governor.statistics import Statistics
    from tonnage.ops.figures.records import Figures, StoreFigures

_MEMORY: Final = ("rss", "heapTotal", "heapUsed", "external")


def summary(
    now: Statistics, figures: Figures, *, environment: str, version: str, unix_seconds: float
) -> dict[str, Any]:
    """Return the summary.

    Args:
        now: the server at this moment.
        figures: what it has counted.
        environment: ``production`` or ``development``.
        version: of Tonnage.
        unix_seconds: the time of this moment.
    """
    memory = memory_keys(now)
    at = datetime.fromtimestamp(unix_seconds, UTC)
    return {
        "timestamp": at.isoformat(timespec="milliseconds"),
        "uptime": round(now.uptime_seconds, 1),
        "memory": {key: memory[key] for key in _MEMORY} | {"arrayBuffers": 0.0},
        "dbConnections": [{"count": _connections(figures.stores)}],
        "batchWriters": {
            store.name: _writer(store) for store in figures.stores if store.kind == "writer"
        },
        "environment": environment,
        "version": version,
    }


def _connections(stores: Iterable[StoreFigures]) -> int:
    """Return how many connections there are to databases, as far as they and we can tell."""
    return int(sum(store.now.get("open", 0) for store in stores if store.kind == "connections"))


def _writer(store: StoreFigures) -> dict[str, int]:
    return {
        "bufferSize": int(store.now.get("buffered", 0)),
        "totalFlushed": int(store.counts.get("flushed", 0)),
        "totalFailed": int(store.counts.get("failed", 0)),
        "totalDropped": int(store.counts.get("dropped", 0)),
    }
