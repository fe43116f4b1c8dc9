"""What a stretch of time is found to be like, second by second.

    moment (what a look found) → Period.add → Period.row

Bounded: 20 KB a period, whatever happens in it. Pure: the clocks' readings are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tonnage.governor.books import PARTS, balanced
from tonnage.governor.levels import Level
from tonnage.ops.sizing.record import WORKER_OWN, Row
from tonnage.ops.sizing.spread import Spread

if TYPE_CHECKING:
    from tonnage.governor.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Counts:
    """What only ever grows, since the start of the server; see :class:`Row`."""

    refused: int = 0
    waited: int = 0
    memory_errors: int = 0
    kernel_kills: int = 0
    recycles: int = 0

    def since(self, before: Counts) -> dict[str, int]:
        """Return what came since *before*, by name."""
        return {
            name: max(0, getattr(self, name) - getattr(before, name)) for name in self.__slots__
        }


class Period:
    """An hour, a day, or the time since something was told."""

    def __init__(self, start_seconds: int, before: Counts) -> None:
        """Begin.

        Args:
            start_seconds: when, since 1970.
            before: what had been counted by then.
        """
        self.start_seconds = start_seconds
        #: Runs that ended without a word, as was found in it.
        self.cut_off = 0
        self._before = before
        self._used = Spread()
        self._parts = {name: Spread() for name in (*PARTS, WORKER_OWN)}
        self._at_peak: dict[str, int] = {}
        self._peak_seconds = start_seconds
        self._limit_bytes = self._workers = self._in_flight = 0
        self._level_seconds = [0.0] * len(Level)

    @property
    def seconds(self) -> float:
        """How long was observed."""
        return self._used.seconds

    @property
    def peak_bytes(self) -> int:
        """The most that was in use."""
        return self._used.peak_bytes

    def add(self, now: Statistics, used_bytes: int, seconds: float, wall_seconds: int) -> None:
        """Note that for so many *seconds* up to *wall_seconds* it was at most as *now* says.

        *used_bytes* is the highest of that time, which *now* need not have seen.
        """
        parts = {**balanced(now), WORKER_OWN: max((0, *(each.held_bytes for each in now.workers)))}
        # What was seen of workers in between alone is their own.
        parts["workers_own"] += max(0, used_bytes - now.used_bytes)
        if used_bytes > self._used.peak_bytes:
            self._at_peak = {name: parts[name] for name in PARTS}
            self._peak_seconds = wall_seconds
        self._used.add(used_bytes, seconds)
        for name, spread in self._parts.items():
            spread.add(parts[name], seconds)
        self._limit_bytes, self._workers = now.limit_bytes, now.planned_workers
        self._in_flight = max(self._in_flight, sum(each.in_flight for each in now.workers))
        self._level_seconds[now.level] += seconds

    def row(self, counts: Counts) -> Row:
        """Return the period so far, *counts* being those of now."""
        return Row(
            start_seconds=self.start_seconds,
            seconds=round(self._used.seconds),
            limit_bytes=self._limit_bytes,
            workers=self._workers,
            peak_bytes=self._used.peak_bytes,
            peak_seconds=self._peak_seconds,
            p99_bytes=self._used.quantile_bytes(0.99),
            p50_bytes=self._used.quantile_bytes(0.5),
            at_peak=dict(self._at_peak),
            peaks={name: spread.peak_bytes for name, spread in self._parts.items()},
            p99s={name: spread.quantile_bytes(0.99) for name, spread in self._parts.items()},
            in_flight=self._in_flight,
            cut_off=self.cut_off,
            level_seconds=tuple(round(seconds, 1) for seconds in self._level_seconds),
            **counts.since(self._before),
        )
