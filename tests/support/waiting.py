"""Waiting for something that happens elsewhere: polled, with a deadline, never blindly."""

from __future__ import annotations

import asyncio
import inspect
import os
import select
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from tests.support.slowness import SLOWNESS

T = TypeVar("T")

_STEP_SECONDS = 0.01
# In this process there is less to it than another look at a page or a file.
_SHORT_STEP_SECONDS = 0.001


def await_true(condition: Callable[[], T | None], what: str, within_seconds: float = 10.0) -> T:
    """Return what *condition* returns as soon as that is true; a slow machine has more time.

    Raises:
        AssertionError: it was not so *within_seconds*; the message says *what* was awaited.
    """
    within_seconds *= SLOWNESS
    deadline = time.monotonic() + within_seconds
    while not (found := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within_seconds:g} s: {what}")
        time.sleep(_STEP_SECONDS)
    return found


async def until(condition: Callable[[], object], within_seconds: float = 10.0) -> None:
    """Return as soon as *condition* is so; other tasks go on meanwhile, and it may await itself.

    Raises:
        TimeoutError: it was not so *within_seconds*; a slow machine has more.
    """
    async with asyncio.timeout(within_seconds * SLOWNESS):
        while True:
            found = condition()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(_SHORT_STEP_SECONDS)


class Ends:
    """Processes whose end can be awaited, whoever their parent is; a zombie has ended.

    Holds a pidfd for each, so that a number which the kernel gives to another process meanwhile
    is not taken for the old one.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._fds: dict[int, int] = {}
        for pid in pids:
            try:
                self._fds[os.pidfd_open(pid)] = pid
            except ProcessLookupError:
                continue  # ended already

    def await_all(self, within_seconds: float) -> list[int]:
        """Wait until all have ended; return those that have not *within_seconds*."""
        deadline = time.monotonic() + within_seconds * SLOWNESS
        poll = select.poll()
        for fd in self._fds:
            poll.register(fd, select.POLLIN)
        while self._fds and (left := deadline - time.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                poll.unregister(fd)
                del self._fds[fd]
                os.close(fd)
        return sorted(self._fds.values())

    def close(self) -> None:
        """Close what is left open."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
