"""What comes back by the task queue: loaded with memory reserved, or raised.

    with room_to_load(told):
        value = opened(call, told, parcel)

Small values go without a reservation: they are not worth asking for. Pure but for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import JobEndedError, JobError, JobMemoryError, JobTooLargeError
from tonnage.governor.reservations import reserved
from tonnage.jobs.local import loaded
from tonnage.jobs.outcomes import busy, timed_out
from tonnage.jobs.queue.news import Kind
from tonnage.jobs.raised import unpacked

if TYPE_CHECKING:
    from tonnage.jobs import wire
    from tonnage.jobs.call import Call
    from tonnage.jobs.queue.news import News

# Those that have a form of their own are made by :mod:`tonnage.jobs.outcomes`.
_ENDINGS: Final = {
    each.__name__: each for each in (JobEndedError, JobError, JobMemoryError, JobTooLargeError)
}


def room_to_load(told: News) -> reserved:
    """Return the reservation for what *told* refers to, while it is fetched and loaded."""
    # Small ones stand in the news. What comes from Redis is there twice.
    return reserved(2 * told.where.size_bytes if told.where else 0)


def opened(call: Call, told: News, parcel: wire.Parcel) -> Any:
    """Return the value in *parcel*, of which *told* tells.

    Raises:
        JobError: there is none.
        Exception: what the function raised.
    """
    if told.kind is Kind.ENDED:
        raise _ending(call, told)
    value = loaded(call, parcel, is_item=told.kind is Kind.ITEM)
    if told.kind is Kind.ERROR:
        raise unpacked(value, call.function)
    return value


def _ending(call: Call, told: News) -> JobError:
    if told.how == "JobTimeoutError":
        return timed_out(call, told.text)
    if told.how == "JobBusyError":
        return busy("the work did not get its turn", told.text)
    return _ENDINGS.get(told.how, JobError)(told.text)
