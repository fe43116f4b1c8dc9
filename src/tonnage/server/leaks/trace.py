"""Which lines leak: tracemalloc in one worker, for a bounded time and within a bounded cost.

Covers one trace from :meth:`LeakTrace.begin` to :meth:`LeakTrace.finish`: what is alive early on is
compared with what is alive at the end, after a collection each time, so that what merely comes and
goes, and what serving costs at all, cancels out. Does not decide when to trace, and does not speak
to anybody: the worker's heartbeat drives it, and :mod:`tonnage.server.leaks.report` makes text.

What it costs, measured on CPython 3.11 with four frames: an allocation takes some 1.2 us instead of
0.06; a block alive costs 105 bytes, and 90 to 120 more during a snapshot. With a FastAPI route that
leaks 64 KB, 300 times a second for 10 s, that is 1.3 MB, and 2.1 ms of CPU a request instead of
0.35: one worker comes to some 450 a second at most. It stands still for 60 ms at the end of the
warm-up, and again at the end. A route that leaks 300 small objects reaches a budget of 32 MB after
1 s at that rate, with 100,000 blocks, and looking at these takes 0.1 s, on a busy machine 0.3.

What it cannot see: memory that C libraries take from malloc directly (numpy, pandas and Pillow's
arrays do report theirs). It knows how much the process grew, and says how much of this it cannot
explain. Nor does it see objects from before it began: where a full cache replaces its entries, the
new ones look like growth until all have been replaced; the report then explains more than there is.

The budget is looked at between two steps of the event loop. One step that allocates millions of
objects can pass it; what else limits the worker holds then, and the trace ends without a snapshot.

Import this module when a trace begins: tracemalloc brings 0.5 MB of modules with it.
"""

from __future__ import annotations

import gc
import json
import time
import tracemalloc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypedDict

from tonnage.server.leaks.lines import (
    Amount,
    Way,
    Where,
    by_line,
    code_of,
    short_path,
    to_blame,
    traces_now,
    whose_is,
)
from tonnage.units import KIB

if TYPE_CHECKING:
    from collections.abc import Callable

# Deep enough to lead from a library back to the line that called it.
FRAMES: Final = 4
LINES: Final = 10
#: A report is at most so long as JSON, half of what a message may be.
LONGEST_BYTES: Final = 8 * 1024

# What is counted before the comparison: requests in flight, buffers, the first of everything.
WARM_UP_SHARE: Final = 0.25
# tracemalloc reports 48 to 60 bytes for each block alive, and holds 105; its snapshot is a list of
# tuples, 90 bytes for each and up to 32 for a size that no other has.
_HELD_PER_REPORTED: Final = 2.0
_REPORTED_PER_BLOCK: Final = 48
_SNAPSHOT_PER_BLOCK: Final = 128

# Of the budget: from here on the next tick could be too late, and here it was.
_NEAR_SHARE: Final = 0.8
_OVERRUN_SHARE: Final = 1.5

# Lines that hold less of the growth than this are noise ...
_WORTH_SHARE: Final = 0.01
#: ... and so are those that have grown by less: ten times what a worker without requests, or with
#: some that leave nothing, was seen to show (counters, timers, the date of the response: 1.5 KB).
WORTH_BYTES: Final = 16 * KIB
#: A request that leaves anything behind leaves a pointer to it at least. What has grown by less for
#: each has not grown with them, but now and then: a table that was enlarged, a first use.
WORTH_BYTES_PER_REQUEST: Final = 8

# The ends of a trace that leave something to count.
_WITH_LINES: Final = ("time", "budget", "early")


class GrownLine(TypedDict):
    """One line, and what it allocated that is still alive; the frames lead to it, outermost last.

    ``whose`` is ``app``, ``library`` or ``server`` (asyncio, uvicorn, Tonnage: their bookkeeping).
    """

    file: str
    line: int
    code: str
    whose: str
    grown_bytes: int
    blocks: int
    bytes_per_block: int
    share: float
    frames: list[str]


class TraceReport(TypedDict):
    """What a trace found between the end of its warm-up and its own end.

    ``ended`` is ``time``, or ``budget`` (earlier: its cost neared the budget), or ``early`` (the
    worker was told to end), or ``overrun`` (one step passed the budget by far: there are no lines),
    or ``taken`` (the application uses tracemalloc itself: none either). ``lines`` are those that
    grew by ``worth_bytes`` or more: less is noise, see :data:`WORTH_BYTES`. ``traced_bytes`` is
    what the traces say has come to stay, ``grown_bytes`` what the process has grown by without the
    trace's own cost.
    """

    ended: str
    seconds: float
    requests: int
    grown_bytes: int
    traced_bytes: int
    cost_bytes: int
    worth_bytes: int
    lines: list[GrownLine]


class LeakTrace:
    """One trace. ``begin``, then ``tick`` until it returns True, then ``finish``; or ``cancel``."""

    def __init__(
        self,
        seconds: float,
        budget_bytes: int,
        *,
        requests: Callable[[], int],
        held_bytes: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a trace of at most *seconds* that itself costs at most *budget_bytes*.

        Args:
            seconds: from the beginning to the end; the first quarter is warm-up.
            budget_bytes: for the traces and one snapshot of them.
            requests: returns how many this worker has served.
            held_bytes: returns what this process holds, less what its allocator keeps.
            clock: in seconds.
        """
        self._seconds = seconds
        self._budget_bytes = budget_bytes
        self._requests = requests
        self._held_bytes = held_bytes
        self._clock = clock
        self._begun_seconds = 0.0
        # What was alive after the warm-up, and until then how things stood at the beginning.
        self._early = _Moment()
        self._is_warm = False
        self._cost_bytes = 0
        self._ended = "time"
        self._is_ours = False

    def begin(self) -> None:
        """Start to trace. Where the application does so already, the trace ends at once."""
        if tracemalloc.is_tracing():
            self._ended = "taken"
        else:
            gc.collect()
            tracemalloc.start(FRAMES)
            self._is_ours = True
        self._begun_seconds = self._clock()
        self._early = self._glance()

    def tick(self) -> bool:
        """Return whether it is time to finish. To be called some ten times a second."""
        if not self._is_ours:
            return True
        elapsed = (self._clock() - self._begun_seconds) / self._seconds
        spent = _full_cost_bytes() / self._budget_bytes
        if spent >= _NEAR_SHARE:
            self._ended = "budget" if spent < _OVERRUN_SHARE else "overrun"
            return True
        if not self._is_warm and max(elapsed, spent) >= WARM_UP_SHARE:
            self._is_warm = True
            self._early, traces = self._collect()
            self._early.count(traces)
        return elapsed >= 1.0

    def end_early(self) -> None:
        """Have the trace end now: it is time to finish, with what has been seen so far."""
        if self._is_ours and not self.tick():
            self._ended = "early"

    def finish(self) -> TraceReport:
        """Stop to trace, give its memory back, and return what has grown.

        The worker serves nobody meanwhile: 1 us for each block alive, and a garbage collection.
        """
        try:
            late, traces = self._collect() if self._ended in _WITH_LINES else (self._glance(), [])
        finally:
            self.cancel()
        late.count(traces)
        return self._report(self._early, late)

    def cancel(self) -> None:
        """Stop to trace and give its memory back."""
        if self._is_ours:
            self._is_ours = False
            tracemalloc.stop()

    def _collect(self) -> tuple[_Moment, list[Any]]:
        """Return how things stand after a collection, and the traces of what is alive."""
        gc.collect()
        moment, traces = self._glance(), traces_now()
        self._note_cost(len(traces))
        return moment, traces

    def _glance(self) -> _Moment:
        self._note_cost(0)
        own = tracemalloc.get_tracemalloc_memory() * _HELD_PER_REPORTED
        return _Moment(self._clock(), self._requests(), self._held_bytes() - int(own))

    def _note_cost(self, blocks: int) -> None:
        reported = tracemalloc.get_tracemalloc_memory()
        cost = reported * _HELD_PER_REPORTED + blocks * _SNAPSHOT_PER_BLOCK
        self._cost_bytes = max(self._cost_bytes, int(cost))

    def _report(self, early: _Moment, late: _Moment) -> TraceReport:
        grown = _grown(early, late)
        traced = sum(size for size, _ in grown.values())
        largest = sorted(grown.items(), key=lambda item: item[1], reverse=True)
        requests = late.requests - early.requests
        worth = max(WORTH_BYTES, requests * WORTH_BYTES_PER_REQUEST)
        lines = [
            _line(late.ways[where], amount, amount[0] / traced)
            for where, amount in largest[:LINES]
            if amount[0] >= max(worth, traced * _WORTH_SHARE)
        ]
        report = TraceReport(
            ended=self._ended,
            seconds=round(late.seconds - early.seconds, 3),
            requests=requests,
            grown_bytes=late.held_bytes - early.held_bytes,
            traced_bytes=traced,
            cost_bytes=self._cost_bytes,
            worth_bytes=worth,
            lines=lines,
        )
        return _fitted(report)


@dataclass(slots=True)
class _Moment:
    """How things stand: what is alive by line, and the way that most of it came."""

    seconds: float = 0.0
    requests: int = 0
    held_bytes: int = 0
    alive: dict[Where, Amount] = field(default_factory=dict)
    ways: dict[Where, Way] = field(default_factory=dict)

    def count(self, traces: list[Any]) -> None:
        """Take in what is alive."""
        self.alive, self.ways = by_line(traces)


def _grown(early: _Moment, late: _Moment) -> dict[Where, Amount]:
    grown = {}
    for where, (size, blocks) in late.alive.items():
        size_before, blocks_before = early.alive.get(where, (0, 0))
        if size > size_before:
            grown[where] = (size - size_before, max(blocks - blocks_before, 1))
    return grown


def _line(way: Way, amount: Amount, share: float) -> GrownLine:
    where, (size, blocks) = to_blame(way), amount
    return GrownLine(
        file=short_path(where[0]),
        line=where[1],
        code=code_of(where),
        whose=whose_is(where[0]),
        grown_bytes=size,
        blocks=blocks,
        bytes_per_block=size // blocks,
        share=round(share, 4),
        frames=[f"{short_path(file)}:{number}" for file, number in way],
    )


def _fitted(report: TraceReport) -> TraceReport:
    """Return *report* short enough for a message: the least lines lose their frames, then go."""
    lines = report["lines"]
    while lines and len(json.dumps(report)) > LONGEST_BYTES:
        framed = [line for line in lines if line["frames"]]
        if framed:
            framed[-1]["frames"] = []
        else:
            lines.pop()
    return report


def _full_cost_bytes() -> float:
    """Return what tracing costs now, with the snapshot that is still to come."""
    reported = tracemalloc.get_tracemalloc_memory()
    return reported * (_HELD_PER_REPORTED + _SNAPSHOT_PER_BLOCK / _REPORTED_PER_BLOCK)
