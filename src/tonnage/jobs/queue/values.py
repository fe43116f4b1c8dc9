"""Arguments on their way to the task queue, and what comes back: copied with memory reserved.

    parcel = await packed(call, args, kwargs)              # in any event loop
    value = opened(call, told, parcel)                     # or raises what the job has raised

Small values go without a reservation: they are not worth asking for. Pure but for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import JobEndedError, JobError, JobMemoryError, JobTooLargeError
from tonnage.governor.reservations import reserved
from tonnage.jobs import wire
from tonnage.jobs.outcomes import busy, timed_out
from tonnage.jobs.queue.news import Kind
from tonnage.jobs.raised import unpacked
from tonnage.logs.context import request_id
from tonnage.stores.sizes import size_bytes

if TYPE_CHECKING:
    from tonnage.jobs.call import Call
    from tonnage.jobs.queue.news import News

# Those that have a form of their own are made by :mod:`tonnage.jobs.outcomes`.
_ENDINGS: Final = {
    each.__name__: each for each in (JobEndedError, JobError, JobMemoryError, JobTooLargeError)
}


async def packed(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> wire.Parcel:
    """Return what the function of *call* is called with, as it is sent."""
    async with _room(size_bytes((args, kwargs))):
        return _packed(call, args, kwargs)


def packed_in_thread(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> wire.Parcel:
    """Do the same in a thread."""
    with _room(size_bytes((args, kwargs))):
        return _packed(call, args, kwargs)


def room_to_load(told: News) -> reserved:
    """Return the reservation for what *told* refers to, while it is fetched and loaded."""
    # What comes from Redis is there twice.
    return _room(2 * told.where.size_bytes if told.where else 0)


def opened(call: Call, told: News, parcel: wire.Parcel) -> Any:
    """Return the value in *parcel*, of which *told* tells.

    Raises:
        JobError: there is none.
        Exception: what the function raised.
    """
    if told.kind is Kind.ENDED:
        raise _ending(call, told)
    value = parcel.load()
    if told.kind is Kind.ERROR:
        raise unpacked(value, call.function)
    return value


def _packed(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> wire.Parcel:
    given = (request_id(), args, kwargs)
    return wire.pack(given, call.memory_bytes, f"what {call.function} is called with")


def _room(needed_bytes: int) -> reserved:
    return reserved(needed_bytes if needed_bytes > wire.INLINE_BYTES else 0)


def _ending(call: Call, told: News) -> JobError:
    if told.how == "JobTimeoutError":
        return timed_out(call, told.text)
    if told.how == "JobBusyError":
        return busy("the work did not get its turn", told.text)
    return _ENDINGS.get(told.how, JobError)(told.text)
