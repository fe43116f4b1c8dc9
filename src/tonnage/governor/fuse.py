"""The fuse: how far each worker's data may grow before an allocation fails in its request.

Covers the figure for ``RLIMIT_DATA`` of each worker, from what is free and who is growing. Does not
cover setting it (:mod:`tonnage.server.fuses`) nor what becomes of the ``MemoryError``
(:mod:`tonnage.web.guard`).

A fuse bounds growth, so the kernel's limit is safe if all growth that the fuses allow together fits
into what is free. That must hold at every moment, since the next look may come late:

- what requests have been promised, in whichever worker, is theirs;
- each worker has :data:`SLACK_BYTES` beyond that, for small requests and the allocator's arenas,
  so that no innocent allocation meets its fuse. Who grows beyond its promises before it tells of
  itself again has used that up;
- what is free beyond both is divided among the workers, more to those who grow faster: while one
  grows alone, it comes to have nearly all of it.

Where less is free than that comes to, which admission does not let happen, all get less.

What isolated jobs were promised and have not taken is nobody's to divide, but it is free. While
much is, half of it is lent for promises and slack, so that an innocent request does not fail beside
a job that may never come for all of it. Who grows fast is not given slack anew, so a burst does not
take the jobs' memory bit by bit; how soon the next look comes goes by what is really free.

A worker raises its own fuse when it lets a request in, so a promise does not wait for a look.

What the limit counts is address space. What a worker has reserved and not touched may be touched at
any moment, so it is taken off what is divided, and lent in the same way; a worker that reserves
much and never touches it leaves less to a burst. Of the stacks of its threads only an eighth
counts. Growth that is no data, such as shared memory, is for the brake
(:mod:`tonnage.governor.brake`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from tonnage.units import MIB

#: What a worker may allocate beyond what its requests were promised: small requests, arenas.
SLACK_BYTES: Final = 16 * MIB
#: A request that was just let in finds at least so much above what it was promised. A thread of the
#: same worker that bursts in small objects (250 MB/s) may run for one or two of the interpreter's
#: switches (5 ms) before the request allocates.
LEAST_SLACK_BYTES: Final = 4 * MIB
#: The last of what is free is lent to nobody where others have a claim on it.
NOT_LENT_BYTES: Final = 32 * MIB
#: How long ago "a moment ago" is.
MOMENT_SECONDS: Final = 1.0
#: What is free is divided by speed of growth, where each is taken to grow by this at least.
LEAST_BYTES_PER_SECOND: Final = 40 * MIB

# Two halves of a moment: the least of a half is kept until the next but one begins.
_HALVES: Final = 2
# A speed is taken over at least so long, or one arena of the allocator looks like a burst.
_LEAST_SPAN_SECONDS: Final = 0.02


class Growth:
    """How fast one figure of one process grows, and what it was a moment ago."""

    __slots__ = ("_halves", "_since", "_start", "bytes_per_second", "now_bytes")

    def __init__(self, value_bytes: int, now_seconds: float) -> None:
        self.now_bytes = value_bytes
        self.bytes_per_second = 0.0
        self._start = value_bytes
        self._since = now_seconds
        # (when the half began, the least in it, when it was that last)
        self._halves: deque[tuple[float, int, float]] = deque(
            [(now_seconds, value_bytes, now_seconds)], _HALVES
        )

    @property
    def before_bytes(self) -> int:
        """The least that the figure was within the last moment."""
        return min(least for _, least, _ in self._halves)

    @property
    def before_seconds(self) -> float:
        """When the figure was last at :attr:`before_bytes`."""
        return max(at for _, least, at in self._halves if least == self.before_bytes)

    @property
    def grown_bytes(self) -> int:
        """What the figure has grown by since :attr:`before_seconds`."""
        return self.now_bytes - self.before_bytes

    def note(self, value_bytes: int, now_seconds: float) -> None:
        """Take in what it is now."""
        begun, least, _ = self._halves[-1]
        if now_seconds - begun >= MOMENT_SECONDS / _HALVES:
            self._halves.append((now_seconds, value_bytes, now_seconds))
        elif value_bytes <= least:
            self._halves[-1] = (begun, value_bytes, now_seconds)
        span = now_seconds - self._since
        if span >= _LEAST_SPAN_SECONDS:
            self.bytes_per_second = max(0.0, (value_bytes - self._start) / span)
            self._start, self._since = value_bytes, now_seconds
        self.now_bytes = value_bytes


@dataclass(frozen=True, slots=True)
class Strand:
    """One worker, as the fuse sees it.

    Attributes:
        data_bytes: its data now (``VmData``).
        untouched_bytes: of that, what it has reserved and not touched.
        told_bytes: what that was when the worker last told of itself.
        bytes_per_second: how fast its data grows.
        promised_bytes: what its requests might still come to then.
        most_bytes: what its data may come to at most (``--worker-memory``); None: no bound.
        fuse_bytes: where its fuse is; 0: it has none yet.
    """

    data_bytes: int
    untouched_bytes: int
    told_bytes: int
    bytes_per_second: float
    promised_bytes: int
    most_bytes: int | None
    fuse_bytes: int

    @property
    def granted_bytes(self) -> int:
        """What is left of the promise."""
        return max(0, self.promised_bytes - max(0, self.data_bytes - self.told_bytes))

    @property
    def has_slack(self) -> bool:
        """Whether it has grown by less than its slack beyond what was promised."""
        return self.data_bytes < self.told_bytes + self.promised_bytes + SLACK_BYTES


def fuses(strands: list[Strand], free_bytes: int, claimed_bytes: int = 0) -> list[int]:
    """Return where the fuse of each worker belongs.

    Args:
        strands: the workers.
        free_bytes: what all of them together may still allocate.
        claimed_bytes: what is free besides, and others were promised.
    """
    unclaimed = max(0, free_bytes - sum(strand.untouched_bytes for strand in strands))
    lent = max(0, free_bytes + claimed_bytes - NOT_LENT_BYTES) // 2
    # For what is innocent; only what nobody has a claim on is divided.
    at_hand = max(unclaimed, lent)
    granted = sum(strand.granted_bytes for strand in strands)
    kept = min(1.0, at_hand / granted) if granted else 1.0
    # Who has used its slack up has no part in what there is of it.
    quiet = sum(strand.has_slack for strand in strands)
    bursts = len(strands) - quiet
    slack = min(SLACK_BYTES, (at_hand - int(granted * kept)) // max(1, quiet))
    rest = max(0, unclaimed - int(granted * kept))
    # While one takes all it can get, the requests of the others go on: their slack is whole until
    # nothing else is left, or a burst that is looked at often would have half of it with each look.
    # Each has its slack or its share, whichever is more; together that is never more than the rest.
    # That goes for two bursts as well: who fails first has let go of its own, and needs some then.
    spare = max(0, rest - SLACK_BYTES * max(0, len(strands) - 1))
    # Of two bursts the slower one has other requests beside it too, if it grows in a thread.
    least = min(SLACK_BYTES, spare // bursts) if bursts else 0
    shared = spare - least * bursts
    weights = [strand.bytes_per_second + LEAST_BYTES_PER_SECOND for strand in strands]
    total = sum(weights)
    return [
        _fuse(
            strand,
            kept,
            slack,
            int(shared * weight / total) + (0 if strand.has_slack else least),
        )
        for strand, weight in zip(strands, weights, strict=True)
    ]


def _fuse(strand: Strand, kept: float, slack_bytes: int, spare_bytes: int) -> int:
    target = strand.data_bytes + int(strand.granted_bytes * kept) + spare_bytes
    innocent = strand.told_bytes + int(strand.promised_bytes * kept) + slack_bytes
    if strand.most_bytes is not None:
        target, innocent = min(target, strand.most_bytes), min(innocent, strand.most_bytes)
    if not strand.fuse_bytes:
        return max(target, innocent)
    if target >= strand.fuse_bytes:
        return target
    if strand.bytes_per_second < LEAST_BYTES_PER_SECOND:
        return max(target, innocent)
    return min(strand.fuse_bytes, max(target, innocent))
