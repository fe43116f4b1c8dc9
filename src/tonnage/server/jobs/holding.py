"""What a job's process holds, with all that it has started.

Counted are private memory and shared memory (``MAP_SHARED`` without a file, memfd, tmpfs) of the
process, beyond what it began with, and the same of every process below it. What is shared with the
process that forked it counts once. Files that are only mapped do not count: their pages come back
by themselves.

Does not see: what lies in a memfd or a tmpfs file and is mapped nowhere, since it belongs to no
process; and what began and ended between two looks.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import Final

from tonnage.host.processes import Statm, descendants, read_rollup, status_bytes
from tonnage.units import MIB, format_bytes

# Processes below one job that are counted.
_MOST_BELOW: Final = 64
# How much more mapped memory makes it worth asking what of that is a file's.
_STEP_BYTES: Final = MIB


class Holding:
    """What process *pid* and its children hold; it must be alive."""

    def __init__(self, pid: int) -> None:
        self._own = _Own(pid)
        self._below: dict[int, _Below] = {}
        self._turn = 0

    def begin(self) -> None:
        """Count from here on."""
        self._own.begin()

    def held_bytes(self) -> int:
        """Return what all of them hold, as far as it costs little to say; 0 once they are gone."""
        return self._own.held_bytes() + sum(each.held_bytes() for each in self._below.values())

    def exact_bytes(self) -> int:
        """Return the same, all looked at anew: some milliseconds for 100 MB below."""
        self._find()
        for each in self._below.values():
            each.roll_up()
        return self.held_bytes()

    def look_below(self) -> None:
        """Find what was started, and look closely at one of them, in turn."""
        self._find()
        if self._below:
            self._turn += 1
            list(self._below.values())[self._turn % len(self._below)].roll_up()

    def pids_below(self) -> list[int]:
        """Return the processes that it had started by the last look."""
        return list(self._below)

    def describe(self) -> str:
        """Return what holds how much, as of the last look."""
        shared_bytes, below = self._own.shmem_bytes(), len(self._below)
        parts = [f"{format_bytes(max(0, self._own.held_bytes() - shared_bytes))} of its own"]
        if shared_bytes >= _STEP_BYTES:
            parts.append(f"{format_bytes(shared_bytes)} of shared memory")
        if below:
            processes = "the process" if below == 1 else f"the {below} processes"
            held = format_bytes(sum(each.held_bytes() for each in self._below.values()))
            parts.append(f"{held} in {processes} that it has started")
        return " and ".join(parts)

    def close(self) -> None:
        """Let go of all."""
        self._own.close()
        for each in self._below.values():
            each.close()
        self._below = {}

    def _find(self) -> None:
        found = list(islice(descendants(self._own.pid), _MOST_BELOW))
        for pid in self._below.keys() - set(found):
            self._below.pop(pid).close()
        for pid in found:
            if pid not in self._below:
                with suppress(OSError):
                    self._below[pid] = _Below(pid)


class _Own:
    """The process of the job."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._statm = Statm(pid)
        self._begun_bytes = self._begun_shmem_bytes = 0
        # What it had mapped when it was last asked how much of that is shared memory.
        self._mapped_bytes = self._shmem_bytes = 0
        self.begin()

    def begin(self) -> None:
        with suppress(OSError):
            sample = self._statm.read()
            self._ask(sample.shared_bytes)
            self._begun_bytes, self._begun_shmem_bytes = sample.private_bytes, self._shmem_bytes

    def held_bytes(self) -> int:
        try:
            sample = self._statm.read()
            if abs(sample.shared_bytes - self._mapped_bytes) >= _STEP_BYTES:
                self._ask(sample.shared_bytes)
        except OSError:
            return 0
        return max(0, sample.private_bytes - self._begun_bytes) + self.shmem_bytes()

    def shmem_bytes(self) -> int:
        return max(0, self._shmem_bytes - self._begun_shmem_bytes)

    def close(self) -> None:
        self._statm.close()

    def _ask(self, mapped_bytes: int) -> None:
        (self._shmem_bytes,) = status_bytes(self.pid, b"RssShmem")
        self._mapped_bytes = mapped_bytes


class _Below:
    """A process that it has started: what a close look has found, and what it grew by since."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._statm = Statm(pid)
        self._found_bytes = self._resident_bytes = 0
        self.roll_up()

    def roll_up(self) -> None:
        with suppress(OSError, ValueError):
            self._resident_bytes = self._statm.read().resident_bytes
            rollup = read_rollup(self._pid)
            # Neither what it shares with the job since its fork, nor files that it alone has.
            self._found_bytes = min(
                rollup.uss_bytes, rollup.pss_anon_bytes + rollup.pss_shmem_bytes
            )

    def held_bytes(self) -> int:
        try:
            resident_bytes = self._statm.read().resident_bytes
        except OSError:
            return 0
        return self._found_bytes + max(0, resident_bytes - self._resident_bytes)

    def close(self) -> None:
        self._statm.close()
