"""How a process becomes that of a job: apart from the server, bounded, and the first to go.

Promises, as far as the kernel knows how: what it allocates beyond what it began with is bounded
(:class:`Bounds`); it ends with its parent, and what it starts is found below it
(:func:`end_what_it_started`); the kernel would rather kill it than a worker; signals meant for the
server do not reach it; it shares neither random numbers nor standard input with anybody.

To be called in the process itself, in its main thread, before the job. Undoes nothing. Does not
bound memory that is shared with other processes, nor what the job's own children take: that is
looked at by its owner (:mod:`tonnage.server.jobs.holding`).
"""

from __future__ import annotations

import atexit
import os
import random
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tonnage.host import reins
from tonnage.host.prctl import adopt_orphans, end_with_parent, name_process
from tonnage.host.processes import Statm, descendants, status_bytes
from tonnage.units import MIB

#: The kernel chooses a job before any worker.
OOM_SCORE: Final = 800
#: On the scale of nice(1): requests go first.
NICENESS: Final = 5
#: What a job that has used up its memory may still take, to say so.
LAST_WORDS_BYTES: Final = 16 * MIB
_STACK_BYTES: Final = 1 * MIB
# Each would start as many threads as there are processors, with buffers of their own.
_ONE_THREAD: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# A job that asks to end with its parent must not ask while that is the process that has forked it,
# and which is about to end: on a busy machine that takes a while.
_ADOPTION_SECONDS: Final = 5.0


class Bounds:
    """What this process holds and may hold, counted from when this is made."""

    def __init__(self) -> None:
        # Elsewhere than on Linux nothing is counted, and nothing bounded.
        self._statm = Statm() if sys.platform.startswith("linux") else None
        self._begun = self._read()
        self._memory_bytes = 0
        # What it had when there was nothing left; 0: there always was.
        self._ran_out_bytes = 0

    def allow(self, memory_bytes: int) -> None:
        """Let it hold *memory_bytes* more than it began with; its peak begins anew."""
        self._memory_bytes = memory_bytes
        self._ran_out_bytes = 0
        self._limit(memory_bytes)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def run_out(self) -> int:
        """Let it take a little more, to say that there is nothing left; return what it had.

        That is the most it has allocated, of which it may not have touched all; by now some may be
        free again. In a process kept warm an earlier job may have had it.
        """
        self._limit(self._memory_bytes + LAST_WORDS_BYTES)
        if self._statm is not None:
            peak_bytes, now_bytes = status_bytes(os.getpid(), b"VmPeak", b"VmSize")
            # What is mapped besides, such as libraries, is still there.
            data_bytes = peak_bytes - now_bytes + self._read()[2]
            had_bytes = max(0, data_bytes - self._begun[2])
            self._ran_out_bytes = min(had_bytes, self._memory_bytes)
        return self._ran_out_bytes

    def held_bytes(self) -> int:
        """Return what it holds now."""
        return max(0, self._read()[1] - self._begun[1])

    def peak_bytes(self) -> int:
        """Return the most that it has held since :meth:`allow`; if it ran out, what it had then."""
        if self._statm is None:
            return 0
        (peak_bytes,) = status_bytes(os.getpid(), b"VmHWM")
        return max(0, peak_bytes - self._begun[0], self._ran_out_bytes)

    def _limit(self, memory_bytes: int) -> None:
        if self._statm is not None:
            reins.limit_data(0, self._begun[2] + memory_bytes)

    def _read(self) -> tuple[int, int, int]:
        """Return what is resident, what of that is private, and what could be written."""
        if self._statm is None:
            return 0, 0, 0
        held = self._statm.read()
        return held.resident_bytes, held.private_bytes, held.data_bytes


def settle(owner: socket.socket) -> None:
    """Make this process one for jobs; *owner* is the socket to whoever has asked for it."""
    name_process("tonnage-job")
    with suppress(OSError):
        os.setsid()
    _await_parent(owner)
    end_with_parent(signal.SIGKILL)
    # Its owner finds by that what it has started, wherever that has gone.
    reins.mark(os.getpid())
    adopt_orphans()
    _reset_signals()
    _read_nothing()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    with suppress(OSError):
        os.nice(NICENESS)
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    threading.stack_size(_STACK_BYTES)
    # What the application has registered while it was imported is for the process that serves.
    atexit._clear()
    random.seed()
    if "numpy" in sys.modules and "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def end_what_it_started() -> int:
    """End all processes below this one, and return how many there were."""
    ended = 0
    # One that is ended may have started another meanwhile; each round leaves fewer.
    for _ in range(8):
        below = descendants(os.getpid())
        if not below:
            break
        ended += len(below)
        for pid in below:
            reins.end(pid)
        with suppress(ChildProcessError):
            while os.waitpid(-1, 0)[0]:
                pass
    return ended


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _read_nothing() -> None:
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)


def _await_parent(owner: socket.socket) -> None:
    """Wait until the process that has forked this one is gone, and its owner is the parent."""
    peer_credentials: Any = getattr(socket, "SO_PEERCRED", None)
    if peer_credentials is None:
        return
    pid = struct.unpack("3i", owner.getsockopt(socket.SOL_SOCKET, peer_credentials, 12))[0]
    deadline = time.monotonic() + _ADOPTION_SECONDS
    while os.getppid() != pid and time.monotonic() < deadline:
        time.sleep(0.0005)
