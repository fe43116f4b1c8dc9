"""Jobs on this machine, from the function's arguments to its result.

    value = await run(call, args, kwargs)
    value = run_in_thread(call, args, kwargs)

A job belongs to the request in whose context it is asked for, unless it has an id, and is ended
when nobody waits for that any more (:mod:`tonnage.web.awaited`).

Promises: arguments and results are copied by whoever asks, in its own task or thread, with memory
reserved for the copy where it is large; waiting is done in an event loop, in that of the stores for
threads. What is left early has its job ended.

Bounded: arguments by the job's memory, into which they have to fit, results likewise.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tonnage.errors import JobError, JobTooLargeError
from tonnage.governor.reservations import reserved
from tonnage.jobs import wire
from tonnage.jobs.asked import Asked
from tonnage.jobs.caller import caller
from tonnage.jobs.raised import unpacked
from tonnage.logs.context import request_id
from tonnage.stores.background import background, check_thread
from tonnage.stores.flights import Flights
from tonnage.stores.sizes import size_bytes
from tonnage.web.awaited import current

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator

    from tonnage.jobs.call import Call
    from tonnage.web.awaited import Awaited

T = TypeVar("T")
# Of jobs with an id; those in threads and those in an event loop do not meet.
_flights: Final = Flights[Any]()

Answer = tuple[wire.Kind, wire.Parcel]

#: What is larger takes longer to load than an event loop should be held up.
LONG_BYTES: Final = 4 * 2**20


async def run(
    call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], job_id: str | None = None
) -> Any:
    """Return what the job's function returns; of those who give one *job_id*, one has it run.

    Raises:
        JobError: there is no result.
        Exception: what the function raised.
    """
    if job_id is not None:
        # It goes on when one of those who wait for it is cancelled.
        made = _flights.task(
            (call.function, job_id), (), lambda: _run(call, args, kwargs, None), _not_kept
        )
        return await asyncio.shield(made)
    return await _run(call, args, kwargs, current())


async def _run(
    call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], awaited: Awaited | None
) -> Any:
    answer = await _ask(call, await packed(call, args, kwargs), awaited)
    return await _opened(call, answer)


def run_in_thread(
    call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], job_id: str | None = None
) -> Any:
    """Do the same in a thread that has no event loop.

    Raises:
        RuntimeError: an event loop runs in this thread, which would be held up.
    """
    check_thread("wait()", "await it")
    if job_id is not None:
        return _flights.make(
            (call.function, job_id),
            (),
            lambda: _run_in_thread(call, args, kwargs, None),
            _not_kept,
        )
    return _run_in_thread(call, args, kwargs, current())


def _run_in_thread(
    call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], awaited: Awaited | None
) -> Any:
    answer = wait(_ask(call, packed_in_thread(call, args, kwargs), awaited))
    return _opened_in_thread(call, answer)


async def iterate(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncGenerator[Any]:
    """Yield what the job's function yields, one at a time as it is asked for."""
    async with Asked(call, await packed(call, args, kwargs), caller(), current()) as job:
        while True:
            job.want_item()
            answer = await job.receive()
            if answer[0] is wire.Kind.RESULT:
                answer[1].close()
                return
            yield await _opened(call, answer)


def iterate_in_thread(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any]:
    """Do the same in a thread that has no event loop."""
    check_thread("iterate()", "use async for")
    given = packed_in_thread(call, args, kwargs)
    job: Asked = wait(_begun(call, given, current()))
    try:
        while True:
            answer = wait(_next(job))
            if answer[0] is wire.Kind.RESULT:
                answer[1].close()
                return
            yield _opened_in_thread(call, answer)
    finally:
        wait(job.__aexit__())


# In an event loop.


async def _ask(call: Call, given: wire.Parcel, awaited: Awaited | None) -> Answer:
    async with Asked(call, given, caller(), awaited) as job:
        return await job.receive()


async def _begun(call: Call, given: wire.Parcel, awaited: Awaited | None) -> Asked:
    return await Asked(call, given, caller(), awaited).__aenter__()


async def _next(job: Asked) -> Answer:
    job.want_item()
    return await job.receive()


async def packed(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> wire.Parcel:
    """Return what the function of *call* is called with, as it is sent.

    Raises:
        JobError: it cannot be, or is larger than the job's memory.
        MemoryShortError: there is no room for a copy of it.
    """
    given, room_bytes = _given(args, kwargs)
    if not room_bytes:
        return _pack(call, given)
    async with reserved(room_bytes):
        return _pack(call, given)


async def _opened(call: Call, answer: Answer) -> Any:
    kind, parcel = answer
    is_item = kind is wire.Kind.ITEM
    try:
        if not parcel.is_large:
            value = loaded(call, parcel, is_item=is_item)
        else:
            async with reserved(parcel.size_bytes):
                if parcel.size_bytes > LONG_BYTES:
                    value = await asyncio.to_thread(loaded, call, parcel, is_item=is_item)
                else:
                    value = loaded(call, parcel, is_item=is_item)
    finally:
        parcel.close()
    return _value(call, kind, value)


# In a thread.


def packed_in_thread(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> wire.Parcel:
    """Do the same in a thread."""
    given, room_bytes = _given(args, kwargs)
    if not room_bytes:
        return _pack(call, given)
    with reserved(room_bytes):
        return _pack(call, given)


def _opened_in_thread(call: Call, answer: Answer) -> Any:
    kind, parcel = answer
    is_item = kind is wire.Kind.ITEM
    try:
        if not parcel.is_large:
            value = loaded(call, parcel, is_item=is_item)
        else:
            with reserved(parcel.size_bytes):
                value = loaded(call, parcel, is_item=is_item)
    finally:
        parcel.close()
    return _value(call, kind, value)


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    """Have *coroutine* run in the stores' event loop, and wait for it here."""
    future = background().start(coroutine)
    try:
        return future.result()
    except BaseException:
        # An interrupt, for one: nobody waits any more.
        future.cancel()
        raise


# In either.


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, int]:
    """Return what is sent, and how much memory the copy of it takes, where it is much."""
    found_bytes = size_bytes((args, kwargs))
    return (request_id(), args, kwargs), found_bytes if found_bytes > wire.INLINE_BYTES else 0


def _pack(call: Call, given: Any) -> wire.Parcel:
    what = f"what {call.function} is called with"
    try:
        return wire.pack(given, call.memory_bytes, what)
    except (MemoryError, JobTooLargeError):
        raise
    except Exception as error:
        raise JobError(f"{what} cannot be passed to another process: {error}") from error


def loaded(call: Call, parcel: wire.Parcel, *, is_item: bool) -> Any:
    """Return the value in *parcel*, an item or the result of *call*.

    Raises:
        JobError: it cannot be loaded in this process.
    """
    try:
        return parcel.load()
    except MemoryError:
        raise
    except Exception as error:
        what = "an item" if is_item else "the result"
        why = f"{type(error).__name__}: {error}"
        raise JobError(f"{what} of {call.function} cannot be loaded here: {why}") from error


def _not_kept(*_: object) -> None:
    """Keep no result: who comes later asks again."""


def _value(call: Call, kind: wire.Kind, value: Any) -> Any:
    if kind is wire.Kind.ERROR:
        raise unpacked(value, call.function)
    return value
