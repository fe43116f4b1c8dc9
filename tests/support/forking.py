"""A piece of a test in a forked child, as a worker is one of its server."""

from __future__ import annotations

import asyncio
import os
import traceback
import warnings
from collections.abc import Callable, Coroutine
from typing import Any


def fork(run: Callable[[], object]) -> int:
    """Call *run* in a child, which ends then without a clean-up; return its process id.

    Its exit status is 0, or 1 if *run* has raised something, which goes to stderr.
    """
    with warnings.catch_warnings():
        # That there are other threads, which is what some of these tests are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        run()
        status = 0
    except BaseException:  # noqa: BLE001 - told, and then the child is over
        traceback.print_exc()
    finally:
        os._exit(status)


def status_of(pid: int) -> int:
    """Wait for the end of a child; return its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def await_in_child(*coroutines: Callable[[], Coroutine[Any, Any, object]]) -> int:
    """Await coroutines one after another, in an event loop of a child; return its exit status."""

    def run() -> None:
        # It believes that the one of its parent runs here.
        asyncio.events._set_running_loop(None)
        loop = asyncio.new_event_loop()
        for each in coroutines:
            loop.run_until_complete(each())

    return await asyncio.to_thread(status_of, fork(run))
