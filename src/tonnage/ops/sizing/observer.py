"""Observes in the supervisor how much memory is used, and by whom, for as long as it runs.

    after each look: note      once a second: tick      at the end: close

Promises: the highest use of every look is seen, however short; what was observed is in the book
after a minute, and then every five, so that a server which is killed with all its processes leaves
most of it behind. Once a day, and at the end, somebody is told the figures, for the log of machines
whose disks do not last.

Bounded: three periods of 20 KB. Neither judges (:mod:`tonnage.ops.sizing.advice`) nor knows files
(:mod:`tonnage.ops.sizing.keeping`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.governor.levels import Level
from tonnage.ops.sizing.period import Counts, Period
from tonnage.ops.sizing.record import DAY_SECONDS, HOUR_SECONDS, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tonnage.governor.statistics import Statistics
    from tonnage.ops.sizing.keeping import Keeping

#: How often to call :meth:`Observer.tick`.
EVERY_SECONDS: Final = 1.0
_WRITE_SECONDS: Final = 300.0
# By then the kernel has written back by itself what was written: it does after 30 s, and 5 s.
_SETTLE_SECONDS: Final = 60.0
# While memory is short writing waits, but not for ever.
_LONGEST_WAIT_SECONDS: Final = 1800.0
#: A run that was shorter leaves nothing in a directory that nobody has named, and tells nothing.
WORTH_SECONDS: Final = 60.0
# Where the supervisor itself was stopped for longer, nothing was observed meanwhile.
_LONGEST_TICK_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Eyes:
    """What is observed.

    Attributes:
        read: returns the state of this moment.
        counts: returns what has been counted up to it.
        risen_bytes: returns what these processes held beyond now, between the last call and this.
        charged_peak_bytes: returns the most that was ever charged to the cgroup whose limit binds,
            file cache included; None: there is none, or it does not tell.
    """

    read: Callable[[], Statistics]
    counts: Callable[[], Counts]
    risen_bytes: Callable[[Iterable[int]], int]
    charged_peak_bytes: Callable[[], int | None] = lambda: None


class Observer:
    """What one server observes of itself."""

    def __init__(
        self,
        eyes: Eyes,
        keeping: Keeping,
        *,
        tell: Callable[[Row], object],
        least_seconds: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """Begin.

        Args:
            eyes: what is observed.
            keeping: what keeps it.
            tell: logs what was observed since it last did.
            least_seconds: nothing is written before so much was observed.
            clock: monotonic seconds.
            wall_clock: seconds since 1970.
        """
        self._eyes, self._keeping, self._tell = eyes, keeping, tell
        self._clock, self._wall_clock = clock, wall_clock
        # The highest look since the last tick, with the whole state where it is the hour's highest.
        self._highest_bytes = 0
        self._highest: Statistics | None = None
        self._cache_bytes = 0
        now, wall = clock(), int(wall_clock())
        counts = eyes.counts()
        self._open = {
            length: Period(wall // length * length, counts)
            for length in (HOUR_SECONDS, DAY_SECONDS)
        }
        self._told = Period(wall, counts)
        self._tell_at = now + DAY_SECONDS
        self._ticked = now
        self._write_at = self._first_seconds = now + least_seconds
        self._worth_at = now + WORTH_SECONDS
        self._settle_at: float | None = None

    def note(self, used_bytes: int) -> None:
        """Take in what a look has found in use: some 0.1 us, and more when it is a record."""
        if used_bytes > self._highest_bytes:
            self._highest_bytes = used_bytes
            if used_bytes > self._open[HOUR_SECONDS].peak_bytes:
                self._highest = self._eyes.read()

    def tick(self) -> None:
        """Take in the time since the last tick; write and tell what is due."""
        now = self._clock()
        self._observe(now)
        if self._is_time_to_write(now):
            # What was written before a minute may be as good as nothing.
            self._write_at = self._worth_at if now < self._worth_at else now + _WRITE_SECONDS
            self._settle_at = now + _SETTLE_SECONDS
            self._open_book()
            self._write(is_running=True)
        elif self._settle_at is not None and now >= self._settle_at:
            self._settle_at = None
            self._keeping.settle()
        if now >= self._tell_at:
            self._tell_at = now + DAY_SECONDS
            self._tell_all()

    def close(self) -> None:
        """Write and tell what was observed, and give the book back. Any number of times."""
        now = self._clock()
        self._observe(now)
        if self._told.seconds >= WORTH_SECONDS:
            self._tell_all()
        if now >= self._first_seconds:
            self._open_book()
        self._write(is_running=False)
        self._keeping.settle()
        self._keeping.close()

    # Observing.

    def _observe(self, at_seconds: float) -> None:
        seconds = min(at_seconds - self._ticked, _LONGEST_TICK_SECONDS)
        self._ticked = at_seconds
        present = self._eyes.read()
        now = self._highest or present
        used_bytes = max(self._highest_bytes, now.used_bytes, self._between(present))
        self._highest, self._highest_bytes = None, 0
        wall = int(self._wall_clock())
        for length, period in self._open.items():
            start = wall // length * length
            if start != period.start_seconds:
                self._turn(length, start)
        if not now.is_blind and used_bytes and seconds > 0:
            for period in (*self._open.values(), self._told):
                period.add(now, used_bytes, seconds, wall)

    def _between(self, present: Statistics) -> int:
        """Return what was in use at most since the last tick, by the kernel's marks.

        Looks are up to a second apart while much is free, and a request can be over by then. Of the
        workers each has a mark, but they need not have reached these at one moment: together they
        have used no more than was ever charged, less the file cache that has been there all along,
        and no more than the limit.
        """
        cache_bytes = min(self._cache_bytes, present.cache_bytes)
        self._cache_bytes = present.cache_bytes
        risen = self._eyes.risen_bytes(each.pid for each in present.workers)
        reached = min(present.used_bytes + risen, present.limit_bytes)
        charged = self._eyes.charged_peak_bytes()
        return reached if charged is None else min(reached, charged - cache_bytes)

    def _turn(self, length: int, start_seconds: int) -> None:
        """Close the open period of *length*, and open the next."""
        counts = self._eyes.counts()
        if self._open[length].seconds:
            self._keeping.add(length, self._open[length].row(counts))
        self._open[length] = Period(start_seconds, counts)

    def _tell_all(self) -> None:
        counts = self._eyes.counts()
        self._tell(self._told.row(counts))
        self._told = Period(int(self._wall_clock()), counts)

    # Keeping.

    def _open_book(self) -> None:
        if self._keeping.open():
            for period in self._open.values():
                period.cut_off = 1

    def _is_time_to_write(self, now: float) -> bool:
        if now < self._write_at or self._keeping.is_hopeless:
            return False
        is_short = self._eyes.read().level is not Level.OK
        return not is_short or now >= self._write_at + _LONGEST_WAIT_SECONDS

    def _write(self, *, is_running: bool) -> None:
        counts = self._eyes.counts()
        self._keeping.write(
            {length: period.row(counts) for length, period in self._open.items()},
            self._eyes.read().measured,
            int(self._wall_clock()),
            is_running=is_running,
        )
