"""Whether a worker leaks: the trend of what it holds after each collection.

Covers the decision, from points that somebody else measures: a leak is growth that a garbage
collection does not undo, that is steady, and that does not flatten. Covers also when to ask for a
collection early, since a fast leak fills the room before the next regular one. Does not cover the
measuring and the acting (:mod:`tonnage.server`), nor which lines leak
(:mod:`tonnage.server.leaks.trace`).

What cannot be known: a cache that fills evenly looks like a leak until it is full. Therefore growth
is watched for as long as there is time, and a verdict holds only for its moment: once the growth
flattens, the next one is None. And a leak on one route of several is reported over all requests of
the worker, since its memory does not say which of them left it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tonnage.governor.trend import Trend, fit
from tonnage.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Points kept for each worker; older ones are thinned out, so that they reach back to its start.
POINTS = 32
#: Cheap points kept for each worker, about one a second.
GLANCES = 16

# Less growth than this any process shows: buffers, lazy imports, arenas of 1 MB each.
WORTH_BYTES = 8 * MIB
# A slope must be known to a fifth before it is told to people.
UNCERTAINTY = 0.2
# Where the flatter half grows at less than this share of the steeper one, it is no steady growth: a
# cache that fills as 1 - exp(-t/T) is told from a leak once it was watched for 0.6 T.
EVENNESS = 0.75
# The noise that even a quiet worker has: pages, arenas, buffers of connections.
NOISE_BYTES = 512 * KIB

# With time to spare: this many points over at least so long (at one a minute, ten minutes).
PATIENT_POINTS = 10
PATIENT_SECONDS = 30.0
# If memory would be full so soon there is none: fewer points do, of which growth has taken its
# share of the room already.
URGENT_POINTS = 4
URGENT_SECONDS = 60.0
URGENT_SHARE = 0.125
# The last so many points are looked at, the longest view first: it knows the slope best.
_VIEWS = (POINTS, 16, PATIENT_POINTS, 6, URGENT_POINTS)

# Collections asked for on suspicion: one a second at first, since a leak of 64 KB at 300 requests/s
# fills 400 MB in 20 s; then less and less, where they find no leak.
SUSPICION_POINTS = 3
_ASK_SECONDS = 1.0
# Where memory will be full sooner than in 16 s, there is a look and a collection for each sixteenth
# of that: enough for a suspicion, a verdict and a successor, with as much again to spare. But not
# denser than this: collections so close are one moment, and cost.
_LOOKS_UNTIL_FULL = 16
_DENSEST_SECONDS = 0.35
_EAGER_ASKS = 6
_LONGEST_ASK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Point:
    """What a worker holds at one moment.

    Args:
        now_seconds: the monotonic clock.
        requests: those the worker has served since its start.
        own_bytes: its private memory, best the least of the second after a collection, so that a
            large request in flight at that moment does not count.
    """

    now_seconds: float
    requests: int
    own_bytes: int


@dataclass(frozen=True, slots=True)
class Leak:
    """One worker's leak, as the last ``points`` points know it.

    ``bytes_per_request`` is over all requests, whatever their route; it is 0 where the growth
    follows the time and not the requests, as a background task's does. ``confidence`` is 1 less the
    relative uncertainty (three standard errors) of the slope: 0.8 means known to a fifth.
    """

    index: int
    pid: int
    bytes_per_request: float
    bytes_per_second: float
    grown_bytes: int
    requests: int
    seconds: float
    points: int
    confidence: float


class LeakWatch:
    """The histories of all workers: at most one for each slot of the shared page."""

    def __init__(self) -> None:
        self._histories: dict[int, _History] = {}

    def note(self, index: int, pid: int, point: Point, *, room_bytes: int) -> Leak | None:
        """Take what a worker holds after a collection; return its leak, if it has one now.

        Args:
            index: the worker's slot.
            pid: a new one in the same slot begins a new history.
            point: read after the collection and the trim.
            room_bytes: what is free until memory is full; the less, the sooner the verdict.
        """
        history = self._history(index, pid)
        history.add(point)
        return _leak(index, pid, history.points, room_bytes)

    def suspect(self, index: int, pid: int, point: Point, *, room_bytes: int) -> bool:
        """Take what a worker holds without a collection; return whether to ask for one now.

        To be called after every :meth:`pace_seconds`, with the least of the worker's own bytes
        since the last call. Garbage looks the same: asking ceases, by doubling the pause up to
        30 s, while what is noted after the collections shows no leak.
        """
        history = self._history(index, pid)
        history.glances.append(point)
        left_seconds = _seconds_left(history.glances, room_bytes)
        history.pace_seconds = _pace(left_seconds)
        if left_seconds is None:
            return False
        return history.may_ask(point.now_seconds)

    def pace_seconds(self) -> float:
        """Return how long to wait between two looks: a second, or less where memory fills fast."""
        paces = (history.pace_seconds for history in self._histories.values())
        return min(paces, default=_ASK_SECONDS)

    def forget(self, index: int) -> None:
        """Drop a worker's history: it has ended."""
        self._histories.pop(index, None)

    def _history(self, index: int, pid: int) -> _History:
        history = self._histories.get(index)
        if history is None or history.pid != pid:
            history = self._histories[index] = _History(pid)
        return history


def when_full_seconds(leak: Leak, room_bytes: int) -> float:
    """Return in how many seconds *leak* will have taken *room_bytes*, at its present pace."""
    return max(room_bytes, 0) / max(leak.bytes_per_second, 1e-9)


def bytes_per_request(leaks: Iterable[Leak]) -> float:
    """Return what a request leaves, on average of the workers that leak by requests; 0: none does.

    Each worker is weighted by its requests.
    """
    by_request = [leak for leak in leaks if leak.bytes_per_request]
    requests = sum(leak.requests for leak in by_request)
    left = sum(leak.bytes_per_request * leak.requests for leak in by_request)
    return left / requests if requests else 0.0


@dataclass(slots=True)
class _History:
    """One worker's points, oldest first."""

    pid: int
    points: list[Point] = field(default_factory=list)
    glances: deque[Point] = field(default_factory=lambda: deque(maxlen=GLANCES))
    pace_seconds: float = _ASK_SECONDS
    asks: int = 0
    not_before_seconds: float = 0.0

    def add(self, point: Point) -> None:
        if self.points and point.now_seconds <= self.points[-1].now_seconds:
            self.points[-1] = point
            return
        self.points.append(point)
        if len(self.points) > POINTS:
            del self.points[self._most_dispensable()]

    def _most_dispensable(self) -> int:
        """Return the point whose absence leaves the smallest gap for its age.

        So points stand close in the last minutes and far apart in the first hours, and 32 of them
        see a leak of 64 KB/s as well as one of 8 MB a day.
        """
        times, now = [point.now_seconds for point in self.points], self.points[-1].now_seconds
        return min(
            range(1, len(times) - 1),
            key=lambda at: (times[at + 1] - times[at - 1]) / (now - times[at - 1]),
        )

    def may_ask(self, now_seconds: float) -> bool:
        if now_seconds < self.not_before_seconds:
            return False
        if now_seconds > self.not_before_seconds + _LONGEST_ASK_SECONDS:
            self.asks = 0
        self.asks += 1
        doublings = min(max(self.asks - _EAGER_ASKS, 0), 8)
        pause = min(self.pace_seconds * 2**doublings, _LONGEST_ASK_SECONDS)
        # A caller whose second is a little short shall not miss its turn.
        self.not_before_seconds = now_seconds + 0.9 * pause
        return True


def _leak(index: int, pid: int, points: Sequence[Point], room_bytes: int) -> Leak | None:
    flattens = False
    for size in sorted({min(size, len(points)) for size in _VIEWS}, reverse=True):
        view, before = points[-size:], points[:-size]
        trend, by_request = _trend(view)
        if trend is None or trend.grown < WORTH_BYTES:
            continue
        # The last part of a curve that flattens is straight, too: a shorter view does not overrule
        # this, unless memory is about to be full.
        flattens = flattens or trend.bend < EVENNESS
        growth = _Growth(trend.grown, view[-1].now_seconds - view[0].now_seconds, size)
        if not (growth.is_urgent(room_bytes) or (growth.is_long() and not flattens)):
            continue
        if _is_steady(trend) and not _was_there_before(view, before, trend):
            return Leak(
                index=index,
                pid=pid,
                bytes_per_request=trend.slope if by_request else 0.0,
                bytes_per_second=growth.bytes_per_second,
                grown_bytes=round(trend.grown),
                requests=view[-1].requests - view[0].requests,
                seconds=growth.seconds,
                points=size,
                confidence=1 - trend.uncertainty,
            )
    return None


@dataclass(frozen=True, slots=True)
class _Growth:
    """How much a view grew, in what time, over how many points."""

    bytes: float
    seconds: float
    points: int

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / self.seconds

    def is_long(self) -> bool:
        """Whether it was watched with patience."""
        return self.points >= PATIENT_POINTS and self.seconds >= PATIENT_SECONDS

    def is_urgent(self, room_bytes: int) -> bool:
        """Whether there is no time for patience, and growth enough to be sure without."""
        room = max(room_bytes, 0)
        return (
            self.points >= URGENT_POINTS
            and room <= self.bytes_per_second * URGENT_SECONDS
            and self.bytes >= room * URGENT_SHARE
        )


def _trend(view: Sequence[Point]) -> tuple[Trend | None, bool]:
    """Return the line through *view*, and whether it follows the requests rather than the time."""
    own = [float(point.own_bytes) for point in view]
    by_request = fit([float(point.requests) for point in view], own, NOISE_BYTES)
    by_time = fit([point.now_seconds for point in view], own, NOISE_BYTES)
    if by_request is None:
        return by_time, False
    # Under even traffic both fit alike. Only what requests explain clearly worse is laid to time.
    if by_time is not None and by_time.uncertainty < by_request.uncertainty / 2:
        return by_time, False
    return by_request, True


def _is_steady(trend: Trend) -> bool:
    return trend.uncertainty <= UNCERTAINTY and EVENNESS <= trend.bend <= 1 / EVENNESS


def _was_there_before(view: Sequence[Point], before: Sequence[Point], trend: Trend) -> bool:
    """Return whether the worker held as much already and gave it back: a saw-tooth's flank.

    One earlier peak does not count: a large request may have been in flight.
    """
    peaks = sorted(point.own_bytes for point in before)
    reached = max(point.own_bytes for point in view)
    return len(peaks) > 1 and reached - trend.grown / 2 < peaks[-2]


def _seconds_left(glances: Sequence[Point], room_bytes: int) -> float | None:
    """Return when memory is full at this pace; None: not soon, or there is no pace yet."""
    room = max(room_bytes, 0)
    # Also the last few alone: the leak may have begun a moment ago.
    for size in {min(size, len(glances)) for size in (GLANCES, 6, SUSPICION_POINTS)}:
        view = list(glances)[-size:]
        times = [glance.now_seconds for glance in view]
        trend = fit(times, [float(glance.own_bytes) for glance in view], NOISE_BYTES)
        if (
            trend is not None
            and trend.grown >= WORTH_BYTES
            and room <= trend.slope * URGENT_SECONDS
        ):
            return room / trend.slope
    return None


def _pace(left_seconds: float | None) -> float:
    if left_seconds is None:
        return _ASK_SECONDS
    return min(max(left_seconds / _LOOKS_UNTIL_FULL, _DENSEST_SECONDS), _ASK_SECONDS)
