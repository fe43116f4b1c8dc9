"""The process of a job: a function, its memory and its time, and nothing else.

It is forked by the zygote, which has imported the application (:func:`run_job`), or begun as an
interpreter of its own: ``python -m tonnage.jobs.child CONTROL_FD``. On the control channel it hears
which calls are its own and says how they went; with the caller it speaks over a socket that comes
with each call (:mod:`tonnage.jobs.wire`).

Promises: bounded as :mod:`tonnage.jobs.settling` says before the function's first line; one call at
a time; it ends with its call, or, kept warm, when it is told to, or its owner is gone. What it has
started, threads or processes, ends with it. Functions that were registered with atexit while a job
ran are called when the result is out; its owner gives them a moment, and ends it then.

Not kept warm: one whose job ran out of memory, has left a thread or a process running, or has left
so much more behind than the first one that the next might not have its memory.

Deadlines are the owner's: it ends this process when one is over.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import socket
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from tonnage.host.malloc import Heap
from tonnage.host.processes import descendants
from tonnage.jobs.call import Call
from tonnage.jobs.caller import be_job
from tonnage.jobs.importpath import restore_python_path
from tonnage.jobs.messages import JOBS, Begins, Finish, Over
from tonnage.jobs.names import find
from tonnage.jobs.settling import Bounds, end_what_it_started, settle
from tonnage.jobs.working import Done, Work, flush

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.jobs.messages import OwnerChannel

logger = logging.getLogger("tonnage.jobs")

Found: TypeAlias = "Callable[..., Any] | BaseException"


def run_job(control: OwnerChannel, data: socket.socket, call: Call) -> int:
    """Be the process of *call*, and of those that follow while it is kept warm.

    Args:
        control: to whoever has asked for this process.
        data: to the caller.
        call: the first call.

    Returns:
        The status to end with; nothing is left to be done but to end.
    """
    with socket.socket(fileno=os.dup(control.fileno())) as owner:
        settle(owner)
    be_job()
    control.setblocking(True)
    found = _found(call.function)
    bounds = Bounds()
    control.send(Begins(os.getpid()))
    rest = _Rest(bounds)
    while True:
        done = _work(call, data, bounds, found)
        is_kept = call.keep_warm_seconds > 0 and done.how in ("done", "raised")
        is_idle = is_kept and rest.is_clean(call)
        control.send(Over(done.how, done.text, bounds.peak_bytes(), is_idle))
        if not is_idle:
            break
        taken = _next_call(control)
        if taken is None:
            break
        call, data = taken
    _finish(call.function)
    return 0


def main(arguments: list[str]) -> int:
    """Be a process of jobs that was begun by itself; the first message says which call it is."""
    restore_python_path()
    control = JOBS.second(int(arguments[0]))
    control.setblocking(True)
    taken = _next_call(control)
    if taken is None:
        return 0
    call, data = taken
    return run_job(control, data, call)


class _Rest:
    """What is left in the process after a job."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._heap = Heap()
        self._first_bytes: int | None = None

    def is_clean(self, call: Call) -> bool:
        """Give back what is free, and return whether the next call finds what the first one did."""
        gc.collect()
        self._heap.trim()
        if descendants(os.getpid()) or _threads_left():
            return False
        held_bytes = self._bounds.held_bytes()
        if self._first_bytes is None:
            # What a first job keeps is what the process is kept for, such as a model.
            self._first_bytes = held_bytes
        return held_bytes <= (self._first_bytes + call.memory_bytes) // 2


def _work(call: Call, data: socket.socket, bounds: Bounds, found: Found) -> Done:
    data.setblocking(True)
    bounds.allow(call.memory_bytes)
    work = Work(call, data, bounds)
    with data:
        return work.tell(found) if isinstance(found, BaseException) else work.run(found)


def _found(name: str) -> Found:
    """Return the function, or why there is none."""
    try:
        function: Found = find(name)
    except BaseException as error:  # noqa: BLE001 - the application's: the caller gets it
        return error
    return function


def _next_call(control: OwnerChannel) -> tuple[Call, socket.socket] | None:
    """Wait for the next call; None: there will be none."""
    while True:
        try:
            received = control.receive()
        except (EOFError, OSError):
            return None
        if received is None:
            continue
        message, fds = received
        if isinstance(message, Finish):
            return None
        return message, socket.socket(fileno=fds[0])


def _finish(function: str) -> None:
    """End what is left of the job, as Python would, but without waiting for threads."""
    left = _threads_left()
    # As Python has it: threads first, and what is registered can still use what it needs.
    atexit._run_exitfuncs()
    ended = end_what_it_started()
    if left or ended:
        logger.warning("%s has left %s", function, _left_running(left, ended))
    with suppress(Exception):
        logging.shutdown()
    flush()


def _left_running(threads: int, processes: int) -> str:
    parts = [
        f"{count} {one if count == 1 else many}"
        for count, one, many in (
            (threads, "thread", "threads"),
            (processes, "process", "processes"),
        )
        if count
    ]
    verb = "has" if threads + processes == 1 else "have"
    return f"{' and '.join(parts)} running, which {verb} ended with it"


def _threads_left() -> int:
    return sum(
        not thread.daemon and thread is not threading.main_thread()
        for thread in threading.enumerate()
    )


if __name__ == "__main__":
    # Not through sys.exit, which would wait for threads that a job has left.
    os._exit(main(sys.argv[1:]))
