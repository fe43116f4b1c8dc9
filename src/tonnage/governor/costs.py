"""What a request of each route costs in memory, learned from what its forerunners did.

Covers:
- the learned numbers of a route (:class:`RouteCost`), kept in the shared page so that they outlive
  a worker and serve all workers;
- what is still to be expected of requests in flight (:func:`promise`).

Does not cover how growth is measured (:mod:`tonnage.web.meter`), which route a request belongs to
(:mod:`tonnage.web.routes`), nor whether it may start (:mod:`tonnage.governor.admission`).

Growth is split in two: what the request allocates in its *first* step, before it first waits for
anything, and what comes *later*. After the first step its share is no expectation any more but a
fact in the process's size, and only the later part remains promised. Without the split, a route
that costs 8 MB today and 40 MB tomorrow would hold 40 MB for each of its requests to the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tonnage.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

# Observations after which the learned numbers are trusted; until then concurrency doubles with
# every observation (slow start): what a first step takes is measured before the next one starts.
KNOWN_AFTER = 6
# A route that takes its memory later, as in a thread, may have started everybody before anything
# is seen; it must be seen more often, and concurrency only doubles with every round, as TCP's does.
# One request in five that costs more would show up in 24 with a certainty of 99.5 %.
LATE_KNOWN_AFTER = 24

# What a request of a route without any observation is taken to cost: this share of all room ...
GUESS_SHARE = 1 / 8
# ... but at least this.
LEAST_GUESS_BYTES = 4 * MIB
# While a route is not known, its worst is taken to be so many times the worst seen.
UNKNOWN_FACTOR = 1.5

# A route is small if its mean stays under this. Small requests do not queue behind large ones.
SMALL_MEAN_BYTES = 256 * KIB
# One arena of CPython's small-object allocator: any request may happen to be the one that needs a
# new one, so growth up to this says nothing about a route.
NOISE_BYTES = 2 * MIB

# Growth beyond this many times the worst seen (and beyond noise) makes the route unknown again.
SURPRISE_FACTOR = 2.0

# A route whose request ran out of memory is closed for so many times as long as that request took,
# within these bounds: such requests then take a fifth of a worker's time at most.
CLOSED_FACTOR = 4.0
CLOSED_SECONDS = (1.0, 60.0)

# A request that had this share of all room has had it all.
TRIED_SHARE = 0.8
# After one has run out of memory, the next is expected to take so many times what that one had ...
TRIAL_FACTOR = 2.0
# ... and if it comes through, one of the route may take so much: what is taken and freed again
# within one step is not seen, so what was measured says little.
NEEDED_FACTOR = 1.5

# Old observations fade: means over about 32 requests, the worst over about 128.
_MEAN_SHARE = 1 / 32
_WORST_FADE = 1 / 128

# 2.5 standard deviations: with many requests in flight their sum is nearly normal, and is above
# that once in 160.
SIGMAS = 2.5

(_COUNT, _FIRST_MEAN, _FIRST_VARIANCE, _FIRST_WORST) = range(4)
(_LATER_MEAN, _LATER_VARIANCE, _LATER_WORST, _SECONDS, _TOTAL, _SMALL) = range(4, 10)
_CLOSED_UNTIL, _TRIAL = 10, 11


@dataclass(frozen=True, slots=True)
class Expectation:
    """Growth still to come, in bytes: its mean, its variance, its worst."""

    mean_bytes: float
    variance: float
    worst_bytes: float

    def at_most(self, most_bytes: float) -> Expectation:
        """Return the same, where there cannot be more than *most_bytes*."""
        if self.worst_bytes <= most_bytes:
            return self
        most = max(0.0, most_bytes)
        return Expectation(min(self.mean_bytes, most), 0.0, most)


NOTHING = Expectation(0.0, 0.0, 0.0)


def promise(expectations: Iterable[Expectation]) -> int:
    """Return how many bytes to keep free for requests that grow independently of each other.

    The means of all, the excess of the single worst, and :data:`SIGMAS` standard deviations of the
    sum; but never more than if each did its worst.
    """
    mean = variance = all_worst = excess = 0.0
    for expected in expectations:
        mean += expected.mean_bytes
        variance += expected.variance
        all_worst += expected.worst_bytes
        excess = max(excess, expected.worst_bytes - expected.mean_bytes)
    return int(min(mean + excess + SIGMAS * math.sqrt(variance), all_worst))


class RouteCost:
    """The learned numbers of one route; a view into the shared page, or into any twelve doubles.

    *row* is its row in the page; -1: it has none.
    """

    __slots__ = ("_n", "name", "row")

    def __init__(self, name: str, numbers: memoryview[float], row: int = -1) -> None:
        self.name = name
        self.row = row
        self._n = numbers

    @property
    def observations(self) -> int:
        """How many observations the numbers rest on, since the last surprise."""
        return int(self._n[_COUNT])

    @property
    def total_observations(self) -> int:
        """How many observations there ever were; a surprise does not set it back."""
        return int(self._n[_TOTAL])

    @property
    def is_known(self) -> bool:
        """Whether the numbers are trusted."""
        return self._n[_COUNT] >= self._enough

    @property
    def _enough(self) -> int:
        return LATE_KNOWN_AFTER if self._is_late else KNOWN_AFTER

    @property
    def _is_late(self) -> bool:
        return self._n[_LATER_WORST] > max(self._n[_FIRST_WORST], NOISE_BYTES)

    @property
    def is_small(self) -> bool:
        """Whether a request of this route is known to be too small to be made to queue."""
        # Worked out when learning, since every request asks.
        return self._n[_SMALL] != 0.0

    @property
    def window(self) -> int | None:
        """How many requests of an unknown route may be in flight at once; None: any number."""
        if self.is_known:
            return None
        return self.observations + 1 if self._is_late else 2**self.observations

    @property
    def seconds(self) -> float:
        """How long a request takes, on average."""
        return self._n[_SECONDS]

    @property
    def mean_bytes(self) -> float:
        """How much a request grows by, on average."""
        return self._n[_FIRST_MEAN] + self._n[_LATER_MEAN]

    @property
    def worst_bytes(self) -> float:
        """How much a request grows by at worst (fading)."""
        return self._n[_FIRST_WORST] + self._n[_LATER_WORST]

    def surely_takes(self, least_bytes: float) -> bool:
        """Return whether each request is known to grow by *least_bytes* or more."""
        expected = self.whole(0)
        low_bytes = expected.mean_bytes - SIGMAS * math.sqrt(expected.variance)
        return self.is_known and low_bytes >= least_bytes

    def whole(self, room_bytes: int) -> Expectation:
        """Return what to expect of a request that has not begun, where *room_bytes* is all room."""
        n = self._n
        if self.is_known:
            return Expectation(
                n[_FIRST_MEAN] + n[_LATER_MEAN],
                n[_FIRST_VARIANCE] + n[_LATER_VARIANCE],
                n[_FIRST_WORST] + n[_LATER_WORST],
            )
        guess = self._guess(n[_FIRST_WORST] + n[_LATER_WORST], room_bytes)
        return Expectation(guess, 0.0, guess)

    def rest(self, grown_later_bytes: float, room_bytes: int) -> Expectation:
        """Return what to expect of a request that is past its first step.

        Args:
            grown_later_bytes: what it has grown by since its first step.
            room_bytes: all room, for the guess where the route is not known.
        """
        n = self._n
        if n[_TOTAL] >= self._enough:
            # Also after a surprise: what it was is in the worst, and in the processes' size.
            mean, variance, worst = n[_LATER_MEAN], n[_LATER_VARIANCE], n[_LATER_WORST]
        else:
            mean = worst = self._guess(n[_LATER_WORST], room_bytes)
            variance = 0.0
        # Asked of all in flight at each look; most have nothing to come.
        if worst <= grown_later_bytes:
            return NOTHING
        return Expectation(max(0.0, mean - grown_later_bytes), variance, worst - grown_later_bytes)

    def _guess(self, worst_bytes: float, room_bytes: int) -> float:
        """Return what to expect where little is known; the worst seen is *worst_bytes*."""
        guess = max(worst_bytes * UNKNOWN_FACTOR + NOISE_BYTES, self._n[_TRIAL])
        if not self._n[_TOTAL]:
            guess = max(guess, room_bytes * GUESS_SHARE, LEAST_GUESS_BYTES)
        return guess

    def note_first(self, first_bytes: float) -> None:
        """Learn from a first step that has just ended, long before its request does.

        Only what is worse than anything seen counts here: the next request may be about to start
        on the old estimate. If it is a surprise, slow start begins anew at once.
        """
        n = self._n
        if not n[_COUNT] or first_bytes <= n[_FIRST_WORST]:
            return
        self._note_surprise(first_bytes)
        n[_FIRST_WORST] = first_bytes

    def note_later(self, later_bytes: float) -> None:
        """Learn from growth beyond the first step while it happens, as :meth:`note_first` does."""
        n = self._n
        if not n[_COUNT] or later_bytes <= n[_LATER_WORST]:
            return
        self._note_surprise(n[_FIRST_WORST] + later_bytes)
        n[_LATER_WORST] = later_bytes

    def note_out_of_memory(
        self, seconds: float, had_bytes: int, room_bytes: int, now_seconds: float
    ) -> None:
        """Close the route for a while: a request has run out of memory.

        The next one is expected to take twice as much, where there is as much, and is let in once
        that is free; those after it, half as much again as the one that failed. One that has had
        nearly all the room and failed says nothing of the next: to expect as much again would keep
        everybody else waiting, and the fuse will hold it as well.

        Args:
            seconds: how long the request has run.
            had_bytes: what it could have allocated.
            room_bytes: all room.
            now_seconds: the monotonic clock.
        """
        n = self._n
        least, most = CLOSED_SECONDS
        n[_COUNT] = n[_SMALL] = 0.0
        n[_CLOSED_UNTIL] = now_seconds + min(max(seconds * CLOSED_FACTOR, least), most)
        n[_TRIAL] = (
            min(TRIAL_FACTOR * had_bytes, room_bytes)
            if had_bytes < room_bytes * TRIED_SHARE
            else 0.0
        )

    def close_as(self, other: RouteCost) -> None:
        """Close for as long as *other*, the same route under another name, if that is longer."""
        if other._n[_CLOSED_UNTIL] > self._n[_CLOSED_UNTIL]:
            self._n[_COUNT] = self._n[_SMALL] = 0.0
            self._n[_CLOSED_UNTIL], self._n[_TRIAL] = other._n[_CLOSED_UNTIL], other._n[_TRIAL]

    def is_closed(self, now_seconds: float) -> bool:
        """Return whether no request may start for now."""
        return now_seconds < self._n[_CLOSED_UNTIL]

    def _note_surprise(self, grown_bytes: float) -> None:
        if grown_bytes > max(self.worst_bytes * SURPRISE_FACTOR, NOISE_BYTES):
            self._n[_COUNT] = self._n[_SMALL] = 0.0

    def observe(
        self, first_bytes: float, later_bytes: float, seconds: float, *, is_share: bool = False
    ) -> None:
        """Learn from a request that has ended; after a surprise slow start begins anew.

        Args:
            first_bytes: what it grew by in its first step.
            later_bytes: what it grew by at worst after that.
            seconds: how long it took.
            is_share: *later_bytes* is its share of what several requests held in threads. One that
                waits while another allocates has a share as well, so the most that it ever had is
                less than what it took: it can raise what was learned, and does not lower it. What
                was learned too high is corrected by requests that are alone; few fit in beside them
                while it is.
        """
        n = self._n
        first, later = max(first_bytes, 0.0), max(later_bytes, 0.0)
        if is_share and n[_COUNT]:
            later = max(later, n[_LATER_MEAN])
        self._note_surprise(first + later)
        count = n[_COUNT] = n[_COUNT] + 1.0
        needed, n[_TRIAL] = n[_TRIAL] / TRIAL_FACTOR * NEEDED_FACTOR, 0.0
        share = max(1.0 / count, _MEAN_SHARE)
        self._learn(_FIRST_MEAN, first, share, anew=count == 1.0)
        self._learn(_LATER_MEAN, later, share, anew=count == 1.0)
        n[_FIRST_WORST] = max(n[_FIRST_WORST], needed - n[_LATER_WORST])
        n[_SECONDS] += (seconds - n[_SECONDS]) * share
        n[_TOTAL] += 1.0
        n[_SMALL] = float(
            count >= KNOWN_AFTER
            and self.mean_bytes <= SMALL_MEAN_BYTES
            and self.worst_bytes <= 2 * NOISE_BYTES
        )

    def _learn(self, mean_at: int, value: float, share: float, *, anew: bool) -> None:
        """Update mean, variance and worst, which lie side by side."""
        n, variance_at, worst_at = self._n, mean_at + 1, mean_at + 2
        if anew:
            # The worst may be known already, from a request that is still in flight.
            n[mean_at], n[variance_at], n[worst_at] = value, 0.0, max(value, n[worst_at])
            return
        delta = value - n[mean_at]
        n[mean_at] += delta * share
        n[variance_at] = (1.0 - share) * (n[variance_at] + share * delta * delta)
        faded = n[worst_at] - (n[worst_at] - n[mean_at]) * _WORST_FADE
        n[worst_at] = max(value, faded)

    def __repr__(self) -> str:
        state = "small" if self.is_small else "known" if self.is_known else "unknown"
        return (
            f"<RouteCost {self.name}: {state}, {self.observations} seen, "
            f"mean {self.mean_bytes / MIB:.2f} MB, worst {self.worst_bytes / MIB:.2f} MB>"
        )
