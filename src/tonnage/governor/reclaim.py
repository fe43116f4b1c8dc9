"""When to ask for memory back and how much, and when to stop asking because nothing comes.

Covers:
- the pause between reclaims: its cost is held to a share of the time, and a reclaim that freed
  little doubles the pause (the OpenTelemetry collector's rule);
- how much has to go (:func:`need_bytes`), and whose it is (:func:`divide_need`);
- when a worker collects garbage, and when it reclaims although nobody is short (``--gc-interval``);
- what came of it (:class:`Reclaimed`), in one sentence (:func:`describe`).

Does not cover how memory is given back (:mod:`tonnage.server.reclaimer`), how far a cache shrinks
(:mod:`tonnage.governor.consumers`) nor who is recycled when nothing comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tonnage.governor.levels import Level
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tonnage.governor.levels import Marks

# A reclaim counts as effective if it freed this share of what was in use.
EFFECTIVE_SHARE = 0.05
# Garbage collection may take this share of the time (Dask's ThrottledGC uses the same).
COST_SHARE = 0.05
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# A reclaim that nobody needs may take this share of the time ...
REGULAR_COST_SHARE = 0.01
# ... and waits this share of its interval for a moment without requests.
PATIENCE_SHARE = 0.1

#: What :class:`Reclaimed` calls those who brought memory back.
CACHE, COLLECTION, ALLOCATOR = "cache:", "collection", "allocator"


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What one reclaim brought, as a worker tells the supervisor.

    Attributes:
        freed_bytes: by how much the worker's own memory fell; negative if it grew meanwhile.
        by: who brought how much of it: ``cache:NAME``, ``collection``, ``allocator``. Bytes that a
            cache says it freed, and that leave the process only when garbage is collected or the
            heap trimmed, are the cache's.
        cost_seconds: how long it took.
        own_bytes: the worker's own memory afterwards.
        requests: how many requests it had served by then.
        why: what called for it.
    """

    freed_bytes: int
    by: dict[str, int]
    cost_seconds: float
    own_bytes: int
    requests: int
    why: str


@dataclass(frozen=True, slots=True)
class Effort:
    """What reclaiming has cost and brought so far."""

    pause_seconds: float = 0.0
    not_before_seconds: float = 0.0


def should_reclaim(level: Level, now_seconds: float, effort: Effort) -> bool:
    """Return whether to reclaim now: at WARNING and above, outside the pause."""
    return level >= Level.WARNING and now_seconds >= effort.not_before_seconds


def after_reclaim(
    effort: Effort, *, used_bytes: int, freed_bytes: int, cost_seconds: float, now_seconds: float
) -> Effort:
    """Return the effort after a reclaim that freed *freed_bytes* of *used_bytes*."""
    effective = freed_bytes >= used_bytes * EFFECTIVE_SHARE
    doubled = min(max(effort.pause_seconds * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
    pause = max(0.0 if effective else doubled, cost_seconds / COST_SHARE, FIRST_PAUSE_SECONDS)
    return replace(
        effort,
        pause_seconds=0.0 if effective else doubled,
        not_before_seconds=now_seconds + pause,
    )


def after_recovery(effort: Effort, level: Level) -> Effort:
    """Return the effort once the level fell to OK: the next need starts without a pause."""
    return Effort() if level is Level.OK else effort


def need_bytes(used_bytes: int, marks: Marks, level: Level) -> int:
    """Return how many bytes have to go before *level* can be left; at OK none."""
    if level is Level.OK:
        return 0
    return max(0, used_bytes - marks.exit_bytes(level) + 1)


def divide_need(need: int, held_bytes: Sequence[int]) -> list[int]:
    """Return each worker's part of *need* bytes, in proportion to what its consumers hold.

    Asked for the whole, four workers would together free four times what has to go. The parts come
    to *need* at least; nobody holds anything: nobody is asked for anything.
    """
    everything = sum(held_bytes)
    if everything <= 0:
        return [0] * len(held_bytes)
    return [-(-need * held // everything) for held in held_bytes]


def may_collect(level: Level, last_cost_seconds: float, since_last_seconds: float) -> bool:
    """Return whether to collect garbage: always from CRITICAL on.

    Else not where the last collection was longer than :data:`COST_SHARE` of the time since then.
    """
    return level >= Level.CRITICAL or last_cost_seconds <= COST_SHARE * since_last_seconds


def is_regular_due(
    now_seconds: float,
    *,
    last_seconds: float,
    last_cost_seconds: float,
    interval_seconds: float,
    in_flight: int,
) -> bool:
    """Return whether to reclaim although nobody is short.

    Once in *interval_seconds* (0: never), more seldom where it costs more than
    :data:`REGULAR_COST_SHARE` of the time, and at a moment without requests if one comes soon.
    """
    if interval_seconds <= 0.0:
        return False
    pause = max(interval_seconds, last_cost_seconds / REGULAR_COST_SHARE)
    late = now_seconds - last_seconds - pause
    return late >= (interval_seconds * PATIENCE_SHARE if in_flight else 0.0)


def describe(reclaimed: Reclaimed, worker: int) -> str:
    """Return what the reclaim of the worker of that number brought, in one sentence.

    ``reclaimed 371 MB from worker 0 in 40 ms: 300 MB caches, 20 MB collection, 51 MB allocator``
    """
    freed, by = reclaimed.freed_bytes, reclaimed.by
    took = f"from worker {worker} in {reclaimed.cost_seconds * 1000:.0f} ms"
    if freed <= 0:
        return f"reclaimed nothing {took}"
    caches = sum(count for name, count in by.items() if name.startswith(CACHE))
    parts = {"caches": caches, **{name: by.get(name, 0) for name in (COLLECTION, ALLOCATOR)}}
    said = [f"{format_bytes(count)} {name}" for name, count in parts.items() if count > 0]
    return f"reclaimed {format_bytes(freed)} {took}" + (f": {', '.join(said)}" if said else "")
