"""When to ask for memory back, and when to stop asking because nothing comes.

Covers the pause between reclaims: its cost is held to a share of the time, and a reclaim that
freed little doubles the pause (the OpenTelemetry collector's rule). Does not cover how memory is
given back (:mod:`tonnage.host.malloc`) nor who is recycled when it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tonnage.governor.levels import Level

# A reclaim counts as effective if it freed this share of what was in use.
EFFECTIVE_SHARE = 0.05
# Garbage collection may take this share of the time (Dask's ThrottledGC uses the same).
COST_SHARE = 0.05
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


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
