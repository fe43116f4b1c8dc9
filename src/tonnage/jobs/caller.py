"""Who asks for jobs in this process, and hears how they ended.

In a worker of ``tonnage run`` the supervisor owns the jobs of all workers: the worker passes on
what it hears (:func:`attach`, :func:`on_message`). In any other process a small one of its own is
started at the first job (:mod:`tonnage.jobs.outside`). Either way the messages are the same
(:mod:`tonnage.jobs.messages`).

Promises: from any thread and any event loop; a forked child has nothing of its parent's. Bounded:
:data:`MOST_JOBS` at once in one process, more are refused.
"""

from __future__ import annotations

import itertools
import os
import threading
from typing import TYPE_CHECKING, Final, Protocol

from tonnage.jobs.messages import JobAsked, JobCancelled, JobEnded

if TYPE_CHECKING:
    import socket

    from tonnage.jobs.asked import Asked
    from tonnage.jobs.messages import FromCaller, ToCaller

#: More than any owner's slots and queue together, which refuse first.
MOST_JOBS: Final = 1100


class Send(Protocol):
    """A channel's way out."""

    def __call__(self, message: FromCaller, *, fds: tuple[int, ...] = ()) -> bool:
        """Send a message; return False if nobody takes it."""


class Caller:
    """The jobs of this process with one owner."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._jobs: dict[int, Asked] = {}
        self._ids: dict[Asked, int] = {}

    def begin(self, job: Asked, theirs: socket.socket) -> bool:
        """Have *job* run, with the process's end of its socket; return False if it does not."""
        with self._lock:
            if len(self._jobs) >= MOST_JOBS:
                return False
            number = next(self._numbers)
            self._jobs[number], self._ids[job] = job, number
        is_sent = False
        try:
            # Unblocked: two threads may send at once, and each message is one call of the system.
            is_sent = self._send(JobAsked(number, job.call), fds=(theirs.fileno(),))
        finally:
            if not is_sent:
                self.forget(job, cancel=False)
        return is_sent

    def forget(self, job: Asked, *, cancel: bool) -> None:
        """Expect nothing more of *job*, and have it ended if it is to be *cancelled*."""
        with self._lock:
            number = self._ids.pop(job, None)
            if number is None:
                return
            del self._jobs[number]
        if cancel:
            self._send(JobCancelled(number))

    def on_message(self, message: ToCaller) -> None:
        """Note what the owner says; from any thread."""
        with self._lock:
            job = self._jobs.get(message.id)
        if job is not None:
            job.tell_from_anywhere(message)

    def lose(self, why: str) -> None:
        """Tell all jobs that their owner is gone."""
        with self._lock:
            # Nothing is asked of it any more: its channel is about to be closed.
            jobs, self._jobs, self._ids = self._jobs, {}, {}
        for number, job in jobs.items():
            job.tell_from_anywhere(JobEnded(number, "stopping", why))


_lock = threading.Lock()
_caller: Caller | None = None
_is_job = False


def be_job() -> None:
    """Say that this process is a job's: what it isolates further runs where it is."""
    global _is_job  # one for a process
    _is_job = True


def is_job() -> bool:
    """Return whether this process is a job's, or was forked by one."""
    return _is_job


def attach(send: Send) -> None:
    """Have the jobs of this process run by whoever is reached by *send*; a worker does it."""
    global _caller  # one for a process
    _caller = Caller(send)


def on_message(message: ToCaller) -> None:
    """Pass on what the owner has said."""
    if _caller is not None:
        _caller.on_message(message)


def caller() -> Caller:
    """Return this process's; where nobody has attached one, its own owner is started now.

    Raises:
        JobBusyError: it could not be started.
    """
    global _caller  # one for a process
    with _lock:
        if _caller is None:
            from tonnage.jobs.outside import start

            _caller = start(_detach)
        return _caller


def _detach(gone: Caller) -> None:
    """Forget an owner that has ended: the next job starts another."""
    global _caller  # one for a process
    if _caller is gone:
        _caller = None


def _after_fork() -> None:
    global _caller, _lock  # what the parent had is the parent's
    _caller, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
