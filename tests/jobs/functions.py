"""What jobs do in these tests: good and bad."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator

from tonnage import isolated, request_id
from tonnage.errors import RequestRefusedError
from tonnage.problem import Problem

MB = 2**20


def add(one: int, other: int = 1) -> int:
    """Plain."""
    return one + other


async def add_later(one: int, other: int = 1) -> int:
    """Do it with an event loop."""
    await asyncio.sleep(0)
    return one + other


def pid() -> int:
    """Tell which process it is."""
    return os.getpid()


@isolated(memory="100M", timeout=20, keep_warm=5)
def warm_pid() -> int:
    """Tell which process it is, which is kept."""
    return os.getpid()


@isolated(memory="100M", timeout=20)
def doubled(value: int) -> int:
    """Twice the value."""
    return 2 * value


@isolated
async def doubled_later(value: int) -> int:
    """Twice the value, in a process of its own, and further from there."""
    return await doubled(value)


@isolated
def count(to: int) -> Iterator[int]:
    """Count."""
    yield from range(to)


@isolated(memory="64M")
async def count_later(to: int) -> AsyncIterator[int]:
    """Count with an event loop."""
    for each in range(to):
        await asyncio.sleep(0)
        yield each


@isolated
def count_noted(path: str) -> Iterator[int]:
    """Count without end, and note how far it has come, and that it was closed."""
    with open(path, "a", buffering=1) as notes:
        try:
            for each in range(10**9):
                notes.write(f"{each}\n")
                yield each
        finally:
            notes.write("closed\n")


def echo(value: object) -> object:
    """Return what is given."""
    return value


def who_asks() -> str | None:
    """Return the id of the request."""
    return request_id()


def settled() -> dict[str, object]:
    """Tell what the process is like."""
    with open("/proc/self/oom_score_adj") as score, open("/proc/self/comm") as comm:
        return {
            "score": int(score.read()),
            "name": comm.read().strip(),
            "nice": os.nice(0),
            "leads": os.getsid(0) == os.getpid(),
            "stdin": os.path.realpath("/proc/self/fd/0"),
            "threads": os.environ["OPENBLAS_NUM_THREADS"],
            "sigterm": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        }


def clock(_: float) -> float:
    """Return the time at the function's first line."""
    return time.monotonic()


def touch(megabytes: int) -> int:
    """Take memory, and use it."""
    return len(b"x" * (megabytes * MB))


# Mischief.


class LocalError(Exception):
    """An error with a constructor that cannot be called with its text alone."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


class LockedError(Exception):
    """An error that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("with a lock")
        self.lock = threading.Lock()


def raise_value_error() -> None:
    """Raise something ordinary."""
    raise ValueError("that was wrong")


def raise_local() -> None:
    """Raise what cannot be loaded."""
    raise LocalError("one", "other")


def raise_locked() -> None:
    """Raise what cannot be pickled."""
    raise LockedError


class Silent:
    """What no text can be had of, such as a record whose session is closed."""

    def __repr__(self) -> str:
        raise LookupError


def raise_silent() -> None:
    """Raise what says nothing."""

    class SilentError(Exception):
        pass

    raise SilentError(Silent())


def exit_silently() -> None:
    """End with what says nothing."""
    sys.exit(Silent())  # type: ignore[arg-type]


def raise_stop() -> None:
    """Raise what has a meaning where it arrives."""
    raise StopIteration(3)


def refuse() -> None:
    """Refuse the request."""
    raise RequestRefusedError(Problem(422, "no_face", "nobody is in the picture"))


def leak() -> None:
    """Take memory without end."""
    taken = []
    while True:
        taken.append(bytes(MB))


def leak_in_an_expression() -> int:
    """Take memory that is let go as soon as there is no more."""
    return len([bytes(MB) for _ in range(500)])


def large(megabytes: int) -> bytes:
    """Return much."""
    return bytes(megabytes * MB)


def used(megabytes: int) -> bytes:
    """Return much that was written to."""
    return b"x" * (megabytes * MB)


def unpicklable() -> object:
    """Return what cannot be passed on."""
    return threading.Lock()


def hang() -> None:
    """Take for ever."""
    while True:
        time.sleep(3600)


def segfault() -> None:
    """Read where nothing is."""
    ctypes.string_at(0)


def exit_politely() -> None:
    """Ask the interpreter to end."""
    sys.exit(3)


def exit_at_once() -> None:
    """End the process."""
    os._exit(4)


def speak(text: str) -> None:
    """Print, and log."""
    print(f"printed {text}")
    logging.getLogger("functions").warning("logged %s", text)


def fork_and_leave() -> list[int]:
    """Leave processes behind: a fork, and one that has a session of its own."""
    child = os.fork()
    if not child:
        time.sleep(3600)
        os._exit(0)
    other = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    other.returncode = 0  # it is not waited for
    return [child, other.pid]


def fork_and_raise() -> int:
    """Have a fork of the process come back first, with an error."""
    child = os.fork()
    if not child:
        raise ValueError("from the fork")
    os.waitpid(child, 0)
    return child


def fork_and_crash(path: str) -> None:
    """Leave processes behind without a word."""
    pids = fork_and_leave()
    with open(path, "w") as file:
        file.write(" ".join(map(str, pids)))
    os.kill(os.getpid(), signal.SIGKILL)


def leave_thread() -> int:
    """Leave a thread behind that never ends."""
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return 5


def leave_word(path: str) -> None:
    """Have something done at the end."""
    atexit.register(_append, path, "the end")


def leave_hanging_end() -> int:
    """Have something done at the end that never ends."""
    atexit.register(time.sleep, 3600)
    return 6


class Unpacked:
    """A value whose loading fails, as where a library of the job's is missing here."""

    def __reduce__(self) -> tuple[object, ...]:
        return _fail_to_load, ()


def _fail_to_load() -> None:
    raise LookupError("not in this process")


def unloadable() -> object:
    """Return what can be passed on, but not loaded."""
    return Unpacked()


def _append(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


def note_and_sleep(path: str, seconds: float) -> str:
    """Note that it has begun, and take its time."""
    _append(path, f"{os.getpid()}\n")
    time.sleep(seconds)
    return "done"


def note_and_finish(path: str, seconds: float) -> None:
    """Do the same, and note the end too."""
    note_and_sleep(path, seconds)
    _append(path, "done\n")


def isolate_more(number: int) -> list[object]:
    """Isolate what is isolated already."""
    return [
        isolated.wait(os.getpid) == os.getpid(),
        isolated.wait(add_later, number),
        list(count.iterate(number)),
        list(count_later.iterate(number)),
    ]


async def isolate_more_later(number: int) -> list[object]:
    """Do so in an event loop."""
    return [
        await isolated(os.getpid) == os.getpid(),
        await isolated(add_later, number),
        [each async for each in count(number)],
        [each async for each in count_later(number)],
    ]
