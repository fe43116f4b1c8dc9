"""One job, in its process: the function is called, and what becomes of it goes to the caller.

Promises an answer for whatever the function does that leaves the process alive: a result, items one
at a time and only when they are wanted, or an error with its traceback. What cannot be passed on
becomes a JobError that says so; a MemoryError becomes a JobMemoryError with the figures.

Bounded: a result, with what the process holds besides, by the job's memory; errors by
:mod:`tonnage.jobs.raised`. Does not bound time: whoever has asked for the process does.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tonnage.errors import JobEndedError, JobError, JobMemoryError, JobTooLargeError
from tonnage.jobs import wire
from tonnage.jobs.raised import packed
from tonnage.logs import context
from tonnage.units import format_bytes

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Callable, Generator

    from tonnage.jobs.call import Call
    from tonnage.jobs.settling import Bounds


@dataclass(frozen=True, slots=True)
class Done:
    """How a job went, for whoever keeps count; *how* is a word of the messages to the caller."""

    how: str
    text: str


class _GoneError(BaseException):
    """Nobody waits for the job any more."""


class Work:
    """One call: what it is, and where its answer goes."""

    def __init__(self, call: Call, data: socket.socket, bounds: Bounds) -> None:
        self._call = call
        self._data = data
        self._bounds = bounds
        self._pid = os.getpid()

    def run(self, function: Callable[..., Any]) -> Done:
        """Call *function* and answer; whatever it raises is part of the answer."""
        how, text = "done", ""
        try:
            value = self._value_of(function)
            self._leave_if_forked()
            self._send(wire.Kind.RESULT, value, "the result")
        except _GoneError:
            how, text = "cancelled", "nobody waits for it any more"
        except BaseException as error:  # noqa: BLE001 - the function's: the caller gets it
            self._leave_if_forked(error)
            how, text = self._tell(error)
        flush()
        return Done(how, text)

    def tell(self, error: BaseException) -> Done:
        """Answer with *error*, since there is no function to call."""
        with suppress(_GoneError, EOFError, OSError):
            # What is unread when the socket is closed would cut off the answer.
            wire.receive(self._data)[1].close()
            self._tell(error)
        return Done("raised", "")

    def _value_of(self, function: Callable[..., Any]) -> Any:
        request_id, args, kwargs = self._given()
        context.current.set(request_id)
        if inspect.isasyncgenfunction(function):
            return asyncio.run(self._pass_on_async(function(*args, **kwargs)))
        if inspect.isgeneratorfunction(function):
            return self._pass_on(function(*args, **kwargs))
        value = function(*args, **kwargs)
        return asyncio.run(value) if inspect.iscoroutine(value) else value

    def _given(self) -> tuple[str | None, tuple[Any, ...], dict[str, Any]]:
        try:
            _, parcel = wire.receive(self._data)
        except (EOFError, OSError):
            raise _GoneError from None
        found: tuple[str | None, tuple[Any, ...], dict[str, Any]] = parcel.load()
        return found

    def _leave_if_forked(self, error: BaseException | None = None) -> None:
        """End a process that the function has forked and that has come back here.

        The answer is the job's to give: such a process ends as a program does.
        """
        if os.getpid() == self._pid:
            return
        status = 0 if error is None else 1
        if isinstance(error, SystemExit):
            status = error.code if isinstance(error.code, int) else 1
        elif error is not None:
            traceback.print_exception(error)
        flush()
        os._exit(status)

    # Items.

    def _pass_on(self, items: Generator[Any]) -> None:
        try:
            for item in items:
                self._await_wanted()
                self._send(wire.Kind.ITEM, item, "an item")
        finally:
            items.close()

    async def _pass_on_async(self, items: AsyncGenerator[Any]) -> None:
        try:
            async for item in items:
                # In a thread: what else the function has begun goes on.
                await asyncio.to_thread(self._await_wanted)
                self._send(wire.Kind.ITEM, item, "an item")
        finally:
            await items.aclose()

    def _await_wanted(self) -> None:
        try:
            wire.receive(self._data)
        except (EOFError, OSError):
            raise _GoneError from None

    # Answers.

    def _send(self, kind: wire.Kind, value: Any, what: str) -> None:
        room_bytes = self._call.memory_bytes - self._bounds.held_bytes()
        try:
            parcel = wire.pack(
                value, max(wire.INLINE_BYTES, room_bytes), f"{what} of {self._call.function}"
            )
        except (MemoryError, JobTooLargeError):
            raise
        except Exception as error:  # noqa: BLE001 - pickling runs the value's own code
            raise JobError(
                f"{what} of {self._call.function}, a {type(value).__name__}, cannot be passed to"
                f" another process: {error}"
            ) from None
        try:
            parcel.send(self._data, kind)
        except OSError:
            raise _GoneError from None

    def _tell(self, error: BaseException) -> tuple[str, str]:
        """Send *error* as the caller is to have it; return how and why the job has ended."""
        how, shown = "raised", error
        if _is_out_of_memory(error):
            had_bytes = self._bounds.run_out()
            # What the frames hold is what there was too much of.
            traceback.clear_frames(error.__traceback__)
            how, shown = "memory", self._out_of_memory(error, had_bytes)
        elif isinstance(error, SystemExit):
            how = "exit"
            shown = JobEndedError(
                f"{self._call.function} called sys.exit({_shown(error.code)[:100]})"
            )
        if shown is not error:
            shown = shown.with_traceback(error.__traceback__)
        with suppress(OSError):
            raised = packed(
                shown, (__file__, asyncio.runners.__file__, asyncio.base_events.__file__)
            )
            wire.pack(raised, 4 * 2**20, "an error").send(self._data, wire.Kind.ERROR)
        if how != "raised":
            return how, str(shown)
        return how, f"{self._call.function} raised {_shown(error)[:200]}"

    def _out_of_memory(self, error: BaseException, had_bytes: int) -> JobMemoryError:
        said = _shown(error, str)[:200]
        asked = f" ({said})" if said else ""
        return JobMemoryError(
            f"{self._call.function} needed more than the {format_bytes(self._call.memory_bytes)}"
            f" that it may have: it had {format_bytes(had_bytes)} and asked for more{asked};"
            " raise memory=, or give it less to do at once"
        )


def _is_out_of_memory(error: BaseException) -> bool:
    # C++ libraries have a word of their own for it.
    return isinstance(error, MemoryError) or "std::bad_alloc" in _shown(error, str)[:500]


def _shown(value: object, show: Callable[[object], str] = repr) -> str:
    try:
        return show(value)
    except Exception:  # noqa: BLE001 - its own code runs
        return f"a {type(value).__name__} without a text"


def flush() -> None:
    """Have what was printed go where it goes."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
