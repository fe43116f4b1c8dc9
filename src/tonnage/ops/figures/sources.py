"""What each store of this process says of itself at this moment, read from its own statistics.

Covers caches, writers, heartbeats, pools, connections to databases, Redis, uploads, rate limits,
the log's outlet and the task queue: what the application has imported, and nothing is imported for
it. Names are in snake_case, sizes in bytes, times in seconds.

Reads counters alone, without I/O. That counts never fall is :mod:`tonnage.ops.figures.stores`'.
What counts in memory that all workers share, as security events do, is not here: the supervisor
reads it.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

from tonnage.ops.figures.records import StoreFigures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger("tonnage.worker")


def read_all() -> Iterator[StoreFigures]:
    """Yield what each store of this process says; of those that cannot say it, nothing."""
    for module, read in _SOURCES.items():
        if module in sys.modules:
            try:
                yield from list(read())
            except Exception:  # a look at figures may not end a worker's heartbeat
                logger.debug("what %s counts cannot be read", module, exc_info=True)


def _caches() -> Iterator[StoreFigures]:
    from tonnage.stores.bulletin import bulletin
    from tonnage.stores.cache import Cache

    for cache in bulletin().members(None):
        if not isinstance(cache, Cache):
            continue
        said = cache.statistics()
        counts = {
            "hits": said.hits,
            "stale_hits": said.stale_hits,
            "misses": said.misses,
            "shared_hits": said.shared_hits,
            "redis_hits": said.redis_hits,
            "sets": said.sets,
            "too_large": said.too_large,
            "joined": said.shared,
            **{f"gone_{why}": count for why, count in said.gone.items()},
        }
        now = {
            "entries": said.entries,
            "used_bytes": said.used_bytes,
            "max_bytes": said.max_bytes,
        }
        yield StoreFigures("cache", said.name, counts, now)
        if said.shared_max_bytes:
            shared = {"used_bytes": said.shared_used_bytes, "max_bytes": said.shared_max_bytes}
            yield StoreFigures("shared_cache", said.name, {}, shared, is_shared=True)


def _writers() -> Iterator[StoreFigures]:
    from tonnage.stores.writer.batchwriter import living

    for writer in living():
        said = writer.statistics()
        counts = {
            "added": said.total_added,
            "flushed": said.total_flushed,
            "failed": said.total_failed,
            "dropped": said.total_dropped,
        }
        now = {
            "buffered": said.buffer_size,
            "max_records": said.max_records,
            "used_bytes": said.used_bytes,
            "max_bytes": said.max_bytes,
            "spooled": said.spooled,
            "spooled_bytes": said.spooled_bytes,
            "waiting": said.waiting,
            "lag_seconds": said.lag_seconds,
            "failing": int(said.is_failing),
        }
        yield StoreFigures("writer", said.name, counts, now)


def _heartbeats() -> Iterator[StoreFigures]:
    from tonnage.stores.heartbeats.heartbeats import living

    for heartbeats in living():
        # Its writer is among the writers.
        said = heartbeats.statistics()
        counts = {"beats": said.beats, "ended": said.ended, "sweeps": said.sweeps}
        yield StoreFigures("heartbeats", said.name, counts, {"waiting": said.waiting})


def _pools() -> Iterator[StoreFigures]:
    from tonnage.db.pooling.counting import connections, statistics

    for name, said in statistics().items():
        counts = {
            "opened": said.opened_total,
            "closed": said.closed_total,
            "timed_out": said.timed_out_total,
        }
        now = {
            "limit": said.limit,
            "open": said.open,
            "in_use": said.in_use,
            "idle": said.idle,
            "waiting": said.waiting,
        }
        yield StoreFigures("pool", name, counts, now)
    own, told = connections()
    yield StoreFigures("connections", "own", {}, {"open": own})
    for server, count in told.items():
        yield StoreFigures("connections", server, {}, {"open": count}, is_shared=True)


def _redis() -> Iterator[StoreFigures]:
    from tonnage.stores.redis.link import living

    for link in living():
        said = link.statistics()
        counts = {
            "answered": said.answered,
            "refused": said.refused,
            "unanswered": said.unanswered,
            "failures": said.failures,
            "reconnects": said.reconnects,
        }
        now = {
            "waiting": said.waiting,
            "waiting_bytes": said.waiting_bytes,
            "connected": int(said.connected),
        }
        # Its address, without a password.
        yield StoreFigures("redis", str(link), counts, now)


def _uploads() -> Iterator[StoreFigures]:
    from tonnage.web.path.uploads.receiving import living

    for uploads in living():
        said = uploads.statistics()
        counts = {
            "received_files": said.received_files,
            "received_bytes": said.received_bytes,
            "refused": said.refused,
        }
        now = {"receiving": said.receiving, "waiting": said.waiting}
        yield StoreFigures("uploads", "uploads", counts, now)


def _rate_limits() -> Iterator[StoreFigures]:
    from tonnage.web.path.ratelimit import living

    for limiter in living():
        yield StoreFigures("rate_limit", limiter.name, {"refused": limiter.refused})


def _logs() -> Iterator[StoreFigures]:
    from tonnage.logs.application import statistics_of_process

    said = statistics_of_process()
    if said is not None:
        counts = {
            "emitted_lines": said.emitted_lines,
            "written_lines": said.written_lines,
            "dropped_lines": said.dropped_lines,
        }
        now = {"queued_lines": said.queued_lines, "queued_bytes": said.queued_bytes}
        yield StoreFigures("logs", "application", counts, now)


def _queue() -> Iterator[StoreFigures]:
    from tonnage.jobs.queue import statistics

    said = statistics()
    if said is not None:
        counts = {
            "given": said.given,
            "joined": said.joined,
            "done": said.done,
            "failed": said.failed,
            "refused": said.refused,
            "cancelled": said.cancelled,
        }
        yield StoreFigures("queue", "jobs", counts, {"waiting": said.waiting})


#: Who says what, by the module whose absence means that there is nothing to be said.
_SOURCES: Final[dict[str, Callable[[], Iterator[StoreFigures]]]] = {
    "tonnage.stores.cache": _caches,
    "tonnage.stores.writer.batchwriter": _writers,
    "tonnage.stores.heartbeats.heartbeats": _heartbeats,
    "tonnage.db.pooling.counting": _pools,
    "tonnage.stores.redis.link": _redis,
    "tonnage.web.path.uploads.receiving": _uploads,
    "tonnage.web.path.ratelimit": _rate_limits,
    "tonnage.logs.application": _logs,
    "tonnage.jobs.queue": _queue,
}
