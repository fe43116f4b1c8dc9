"""MemoryErrors that surface in no request: in a task that nobody awaits, a callback, a thread.

Such an error holds the frames it came through for as long as somebody keeps the task, and what
asyncio says of it, if anything, names no route. Here what it holds is freed as soon as the task
ends; the log names the line of the application and, where it is known, the route that began the
work; it is counted, and the worker is checked.

Covers the tasks that measured requests start (:class:`tonnage.web.meter.Tasks` tells of them), what
else the event loop reports to its exception handler, as it does of other tasks once they are
garbage, and threads that the application starts by itself. A task whose error somebody has
retrieved is the application's affair, or surfaces in its request (:mod:`tonnage.web.guard`); it is
freed all the same. Does not cover an error that is caught and kept, nor an exception handler that
the application puts in the place of ours.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from tonnage.units import format_bytes, in_mb
from tonnage.web.meter import current_request
from tonnage.web.witness import hear

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.page import Slot
    from tonnage.web.outofmemory import Finding

logger = logging.getLogger("tonnage.requests")

#: Who awaits a task has retrieved its error by then; what others do with it is not waited for.
GRACE_SECONDS: Final = 1.0


class Strays:
    """Finds, frees, names and counts them, for one worker."""

    def __init__(self, slot: Slot, check: Callable[[], object]) -> None:
        """Begin.

        Args:
            slot: this worker's slot.
            check: has the worker checked for what was left behind; called in the event loop.
        """
        self._slot = slot
        self._check = check

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear what *loop* and threads would report; all else goes to whom it went before."""
        report, report_thread = loop.get_exception_handler(), threading.excepthook

        def on_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            finding = hear(context.get("exception"))
            if finding is not None:
                self._tell(_name(context), finding)
            elif report is not None:
                report(loop, context)
            else:
                loop.default_exception_handler(context)

        def on_thread_exception(args: threading.ExceptHookArgs) -> None:
            finding = hear(args.exc_value)
            if finding is None or loop.is_closed():
                report_thread(args)
                return
            name = f"thread {args.thread.name}" if args.thread is not None else "a thread"
            loop.call_soon_threadsafe(self._tell, name, finding)

        loop.set_exception_handler(on_exception)
        threading.excepthook = on_thread_exception

    def follow(self, task: asyncio.Task[Any]) -> None:
        """Free what *task*, started in the current context, holds if it runs out of memory."""
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        # Not task.exception(): that would count as retrieved.
        error = task._exception
        if error is not None and (finding := hear(error)) is not None:
            # Holds the task a little longer, but nothing of what it had allocated.
            request = current_request.get()
            route = request.route.name if request is not None else ""
            task.get_loop().call_later(GRACE_SECONDS, self._tell_if_ignored, task, route, finding)

    def _tell_if_ignored(self, task: asyncio.Task[Any], route: str, finding: Finding) -> None:
        if task._log_traceback:
            # Retrieved by this: asyncio would say it again, and name no route.
            task.exception()
            self._tell(f"a task of {route}" if route else "a task", finding)

    def _tell(self, name: str, finding: Finding) -> None:
        held_bytes = max(0, finding.private_bytes - self._slot.baseline_bytes)
        self._slot.memory_errors += 1
        self._check()
        logger.error(
            "%s ran out of memory at %s: no request waits for it; the worker held %s then",
            name,
            finding.line,
            format_bytes(held_bytes),
            extra={"fields": {"held_mb": in_mb(held_bytes)}},
        )


def _name(context: dict[str, Any]) -> str:
    """Return what the event loop reports on."""
    if "future" in context:
        return "work that nobody awaits"
    return "a callback" if "handle" in context else "the event loop"
