"""Putting a job onto the task queue, finding one that is there already, and taking one back.

Promises: Redis away is a JobBusyError within :data:`POST_SECONDS`. Of one id there is one job at a
time, and one that was done is found until its result goes. For the stores' event loop.

Bounded: ``job_queue`` jobs that wait, and one more for each other process that puts one there at
the same moment: of one process they come one after the other.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import JobBusyError, JobError
from tonnage.jobs.outcomes import busy
from tonnage.jobs.queue.news import Kind, read
from tonnage.jobs.queue.saqueue import Queue, Status, job_of
from tonnage.jobs.queue.ticket import LEASE_SECONDS, Ticket, longest_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tonnage.jobs.call import Call
    from tonnage.jobs.queue.sealing import Sealer
    from tonnage.jobs.queue.shelf import Shelf
    from tonnage.jobs.wire import Parcel
    from tonnage.settings import JobSettings

#: How long it may take to put a job onto the queue.
POST_SECONDS: Final = 3.0
#: What a worker says of a job that has a result.
DONE: Final = "done"
LONGEST_ID: Final = 200
_LEAVE_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.1


class Desk:
    """Where the jobs of one process are handed in.

    Args:
        redis: the queue's.
        sealer: what tickets are sealed with.
        shelf: where arguments are put.
        settings: the bounds.
        heartbeat_seconds: a worker that is not heard of for so long is taken for dead.
    """

    def __init__(
        self,
        redis: Redis,
        sealer: Sealer,
        shelf: Shelf,
        settings: JobSettings,
        heartbeat_seconds: int,
    ) -> None:
        self._redis = redis
        self._sealer = sealer
        self._shelf = shelf
        self._settings = settings
        self._heartbeat_seconds = heartbeat_seconds
        self._queue = Queue(redis, sealer)
        # Held from counting those that wait until one more does.
        self._turn = asyncio.Lock()

    async def post(
        self, call: Call, given: Parcel, job_id: str | None, *, has_items: bool
    ) -> tuple[Ticket, bool]:
        """Put a job there; return its ticket, and whether it was there already.

        Raises:
            JobBusyError: too many wait, or the queue cannot be reached.
            JobTooLargeError: the arguments are too large for the way.
        """
        async with _reached(POST_SECONDS):
            while True:
                found = await self._found(call, job_id) if job_id is not None else None
                if found is not None:
                    return found, True
                ticket = await self._put(call, given, job_id, has_items=has_items)
                if ticket is not None:
                    return ticket, False
                # Somebody else was faster, or it is just being cancelled.
                await asyncio.sleep(_PAUSE_SECONDS)

    async def take_back(self, ticket: Ticket) -> None:
        """Have a job ended that nobody waits for any more, as far as the queue can be reached."""
        with suppress(JobBusyError):
            async with _reached(_LEAVE_SECONDS):
                await self._redis.delete(ticket.lease_key, ticket.news_key)
                job = await self._queue.job(ticket.run)
                if job is not None:
                    await self._queue.abort(job, "nobody waits for it any more")
                    await self._shelf.remove(ticket.given)

    async def clear(self, ticket: Ticket) -> None:
        """Remove what was told of a job that is over."""
        with suppress(JobBusyError):
            async with _reached(_LEAVE_SECONDS):
                await self._redis.delete(ticket.lease_key, ticket.news_key)

    async def _put(
        self, call: Call, given: Parcel, job_id: str | None, *, has_items: bool
    ) -> Ticket | None:
        # Before anything large is sent.
        if await self._is_full():
            raise _full()
        retries = self._settings.job_retries
        where = await self._shelf.put(given, longest_seconds(call, retries))
        ticket = Ticket(call, uuid.uuid4().hex, where, job_id is not None, has_items)
        await self._redis.set(ticket.lease_key, 0, ex=LEASE_SECONDS)
        key = ticket.run if job_id is None else _key(call, job_id)
        seal = self._sealer.seal(key, ticket.as_fields())
        job = job_of(ticket, key, seal, retries, self._heartbeat_seconds)
        async with self._turn:
            is_full = await self._is_full()
            if not is_full and await self._queue.enqueue(job):
                return ticket
        await self._shelf.remove(where)
        if is_full:
            raise _full()
        return None

    async def _is_full(self) -> bool:
        return await self._queue.count("queued") >= max(1, self._settings.job_queue)

    async def _found(self, call: Call, job_id: str) -> Ticket | None:
        """Return the ticket of a job that is being done, or was done a little while ago."""
        key = _key(call, job_id)
        job = await self._queue.job(key)
        if job is None or job.kwargs is None:
            return None
        ticket = Ticket.from_fields(job.kwargs["ticket"])
        if not self._sealer.fits(job.kwargs.get("seal"), key, ticket.as_fields()):
            raise JobError(
                "a job of this id has not the right seal: is TONNAGE_JOB_KEY the same everywhere?"
            )
        if job.status is Status.COMPLETE:
            is_there = job.result == DONE and await self._redis.exists(ticket.news_key)
            return ticket if is_there else None
        if job.status not in (Status.NEW, Status.QUEUED, Status.ACTIVE):
            return None
        # It may have failed just now: that is not kept for those who come after.
        latest: Any = await self._redis.xrevrange(ticket.news_key, count=1)
        told = read(dict(latest[0][1]), ticket, self._sealer) if latest else None
        is_failed = told is not None and told.kind in (Kind.ERROR, Kind.ENDED)
        return None if is_failed else ticket


def _full() -> JobBusyError:
    return busy("too much work waits already", "the task queue is full")


def _key(call: Call, job_id: str) -> str:
    if not 0 < len(job_id) <= LONGEST_ID:
        raise ValueError(f"a job_id has 1 to {LONGEST_ID} characters")
    return f"{call.function}:{job_id}"


@asynccontextmanager
async def _reached(seconds: float) -> AsyncIterator[None]:
    """Have what Redis does not do in *seconds* refused as what cannot be done now."""
    from redis.exceptions import RedisError

    try:
        async with asyncio.timeout(seconds):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise busy("work cannot be taken on now", f"the task queue: {error!s:.200}") from None
