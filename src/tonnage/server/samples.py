"""The last seconds of memory, sample by sample, for the report on what came next.

A ring of at most :data:`MOST_SAMPLES` rows in one block of ``8 * (5 + slots)`` bytes a row: 28 KB
with two workers, 276 KB with 64. Nothing is allocated while it runs, and a note takes some 2 us.

Does not measure (:mod:`tonnage.server.watch`) and draws no conclusions
(:mod:`tonnage.server.postmortem.cause`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Final

from tonnage.governor.levels import Level
from tonnage.governor.page import MAX_WORKERS

MOST_SAMPLES: Final = 512
#: Samples that follow each other faster than this overwrite one another: 512 last 5 s at least.
SPACING_SECONDS: Final = 0.010
#: So many are read back at once: each is some 400 bytes and more as Python objects.
MOST_SHOWN: Final = 96
_TIME = struct.Struct("=d")
_COLUMNS = 5  # time, used, raw, cache, level


@dataclass(frozen=True, slots=True)
class Sample:
    """What one look of the supervisor found.

    Attributes:
        now_seconds: when, on the monotonic clock.
        used_bytes: what counted towards the limit.
        raw_bytes: what the kernel charged, reclaimable cache included.
        cache_bytes: file pages that the kernel could take back.
        level: the level that was decided.
        private_bytes: each worker's private memory, by the number of its slot; 0: no worker.
    """

    now_seconds: float
    used_bytes: int
    raw_bytes: int
    cache_bytes: int
    level: Level
    private_bytes: tuple[int, ...]

    def private_of(self, worker: int) -> int:
        """Return the private bytes of the worker in slot *worker*; 0 if there was none."""
        return self.private_bytes[worker] if worker < len(self.private_bytes) else 0

    def without(self, worker: int) -> Sample:
        """Return this sample as if nobody had been in slot *worker*."""
        private = tuple(0 if at == worker else own for at, own in enumerate(self.private_bytes))
        return replace(self, private_bytes=private)


class SampleRing:
    """The newest samples; older ones are overwritten."""

    def __init__(self, slots: int = MAX_WORKERS) -> None:
        """Make room for :data:`MOST_SAMPLES` samples of *slots* workers."""
        self._slots = slots
        self._row = struct.Struct(f"=d{_COLUMNS - 1 + slots}q")
        self._rows = bytearray(self._row.size * MOST_SAMPLES)
        self._count = 0
        # Of the newest row and the one before it.
        self._times = (float("-inf"), float("-inf"))

    def note(self, sample: Sample) -> None:
        """Keep *sample*; the newest is always kept, however soon it follows."""
        before, newest = self._times
        if newest - before < SPACING_SECONDS and self._count > 1:
            self._times = (before, sample.now_seconds)
        else:
            self._count += 1
            self._times = (newest, sample.now_seconds)
        private = sample.private_bytes[: self._slots]
        self._row.pack_into(
            self._rows,
            self._at(self._count - 1),
            sample.now_seconds,
            sample.used_bytes,
            sample.raw_bytes,
            sample.cache_bytes,
            sample.level,
            *private,
            *([0] * (self._slots - len(private))),
        )

    def since(self, since_seconds: float) -> list[Sample]:
        """Return samples taken at *since_seconds* or later, at most :data:`MOST_SHOWN`.

        The oldest first. Of more, half are the newest and the others spread evenly over the time
        before. The newest one is among them at any age, so that there is something to say.
        """
        oldest = max(0, self._count - MOST_SAMPLES)
        first = self._count
        while first > oldest and self._time(first - 1) >= since_seconds:
            first -= 1
        first = min(first, max(oldest, self._count - 1))
        return [self._sample(number) for number in _chosen(range(first, self._count))]

    def _time(self, number: int) -> float:
        seconds: float = _TIME.unpack_from(self._rows, self._at(number))[0]
        return seconds

    def _sample(self, number: int) -> Sample:
        values = self._row.unpack_from(self._rows, self._at(number))
        now, used, raw, cache, level, *private = values
        return Sample(now, used, raw, cache, Level(level), tuple(private))

    def _at(self, number: int) -> int:
        return number % MOST_SAMPLES * self._row.size


def _chosen(numbers: range) -> list[int]:
    """Return at most :data:`MOST_SHOWN` of *numbers*: the last ones, and fewer before."""
    if len(numbers) <= MOST_SHOWN:
        return list(numbers)
    newest = MOST_SHOWN // 2
    older, few = numbers[:-newest], MOST_SHOWN - newest
    return [*(older[turn * len(older) // few] for turn in range(few)), *numbers[-newest:]]
