"""The way out of a process for its lines: one thread writes, and no request ever waits.

Promises: a line that is logged in an event loop, or in a thread besides the main one, costs a place
in a queue (:mod:`tonnage.logs.linequeue` has its bounds), whatever becomes of stdout. Each line is
written once and whole, or dropped and counted, and when the reader has come back one line says how
many were. Lines leave in pieces of up to 4 KB, which a pipe that several workers share keeps whole.

The thread begins with the first such line. A process that only imports the application, such as one
that forks workers, has none: its lines are written at once, with a short wait for room
(:mod:`tonnage.logs.outflow`). So are those of a script, which loses none when it crashes. A forked
child begins anew, and what its parent has waiting is the parent's.

What waits when a process is killed is lost.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.logs import ring
from tonnage.logs.linequeue import Batch, LineQueue
from tonnage.logs.outflow import WHOLE_BYTES, Notice, Outflow

if TYPE_CHECKING:
    from tonnage.logs.rotation import RotatedFile

#: How long a process that ends waits for lines to be written.
CLOSE_SECONDS: Final = 1.0
# How long the thread waits for memory before it tries again.
_NO_MEMORY_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class LogStatistics:
    """What has become of the lines of this process; what was emitted is the sum of the others.

    Attributes:
        emitted_lines: lines that were logged.
        written_lines: those that are out.
        dropped_lines: those that nobody took in time.
        queued_lines: those that wait, or are just being written.
        queued_bytes: what the queue holds.
    """

    emitted_lines: int
    written_lines: int
    dropped_lines: int
    queued_lines: int
    queued_bytes: int


class Outlet:
    """The lines of this process on their way to a descriptor, and to a file besides.

    Args:
        fd: such as that of stdout.
        notice: makes the line about those that were dropped.
        file: has all lines too; what it cannot take is not counted.
    """

    def __init__(self, fd: int, notice: Notice, file: RotatedFile | None = None) -> None:
        self._fd = fd
        self._notice = notice
        self._file = file
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all lines and all counts: they are those of the process that has forked us."""
        # An RLock: a destructor or a signal handler may log while this thread is in put().
        self._condition = threading.Condition()
        self._queue = LineQueue()
        self._flow = Outflow(self._fd, self._notice)
        self._thread: threading.Thread | None = None
        self._emitted_lines = self._written_lines = self._lost_lines = 0
        # How many lines the thread has taken and not written yet.
        self._leaving_lines = 0
        self._is_file_failing = False
        if self._file is not None:
            self._file.close()

    def put(self, line: bytes, *, is_serious: bool = False) -> None:
        """Have *line* written; one that is serious goes before others where there is no room."""
        ring.note(line)
        if self._thread is None and not (_is_serving() and self._begin()):
            self._write_at_once(line)
            return
        with self._condition:
            self._emitted_lines += 1
            self._queue.put(line, is_serious=is_serious, now=time.time())
            self._condition.notify()

    def flush(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Wait until all lines are out, *seconds* at most; return whether they are."""
        with self._condition:
            return self._condition.wait_for(self._is_idle, seconds)

    def close(self, seconds: float = CLOSE_SECONDS) -> int:
        """Write what waits within *seconds*, and return how many lines had to be dropped.

        The thread ends; lines that come nevertheless begin another, or are written at once.
        """
        self.flush(seconds)
        with self._condition:
            thread, self._thread = self._thread, None
            self._condition.notify_all()
            if thread is None:
                self._close_file()
            return self._queue.drop_all(time.time())

    def statistics(self) -> LogStatistics:
        """Return the counts."""
        with self._condition:
            return LogStatistics(
                emitted_lines=self._emitted_lines,
                written_lines=self._written_lines,
                dropped_lines=self._lost_lines + self._queue.dropped_lines,
                queued_lines=len(self._queue) + self._leaving_lines,
                queued_bytes=self._queue.bytes,
            )

    def _is_idle(self) -> bool:
        return not self._queue and not self._leaving_lines

    def _begin(self) -> bool:
        """Begin the thread, and return whether there is one."""
        with self._condition:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="tonnage-logs", daemon=True)
                try:
                    thread.start()
                except (RuntimeError, MemoryError):
                    return False  # no more threads, no memory for one, or Python is ending
                self._thread = thread
        return True

    def _write_at_once(self, line: bytes) -> None:
        with self._condition:
            self._emitted_lines += 1
            is_written = self._flow.write(line)
            self._written_lines += is_written
            self._lost_lines += not is_written
            self._write_file(line)

    # In the thread.

    def _run(self) -> None:
        while True:
            try:
                while (batch := self._next()) is not None:
                    self._write(batch)
                self._close_file()
                return
            except MemoryError:
                # Who logs counts on this thread. What it has taken is lost.
                with self._condition:
                    self._lost_lines += self._leaving_lines
                    self._leaving_lines = 0
                time.sleep(_NO_MEMORY_SECONDS)

    def _next(self) -> Batch | None:
        with self._condition:
            # Once closed, this is not the one any more, and another may have begun since.
            this = threading.current_thread()
            while (batch := self._queue.take(WHOLE_BYTES)) is None and self._thread is this:
                self._condition.wait()
            self._leaving_lines = 0 if batch is None else batch.lines
            return batch

    def _write(self, batch: Batch) -> None:
        self._write_file(batch.data)
        dropped, since = self._flow.take_dropped()
        dropped, since = dropped + batch.dropped_lines, since or batch.dropped_since
        is_written = True
        try:
            if dropped:
                self._flow.write_waiting(self._notice(dropped, since))
            self._flow.write_waiting(batch.data)
        except OSError:
            is_written = False  # nobody will ever read them
        with self._condition:
            self._leaving_lines = 0
            if is_written:
                self._written_lines += batch.lines
            else:
                self._lost_lines += batch.lines
            self._condition.notify_all()

    def _write_file(self, lines: bytes) -> None:
        if self._file is None:
            return
        try:
            self._file.write(lines)
            self._is_file_failing = False
        except OSError as error:
            self._file.close()
            if not self._is_file_failing:
                self._is_file_failing = True
                complaint = f"tonnage: the log file {self._file.path} takes no lines: {error}\n"
                self._flow.write(complaint.encode("utf-8", "backslashreplace"))

    def _close_file(self) -> None:
        """Close the file, unless lines have come since; they would open it again."""
        with self._condition:
            if self._thread is None and self._file is not None:
                self._file.close()


def _is_serving() -> bool:
    """Return whether a wait here would hold up others: in an event loop, or in a further thread.

    Where neither is so, a thread would be in the way: of a fork, for one.
    """
    if threading.get_ident() != threading.main_thread().ident:
        return True
    events = sys.modules.get("asyncio.events")
    return events is not None and events._get_running_loop() is not None
