"""The caller's side of the task queue: puts a job there, and waits for what becomes of it.

    way = QueueTransport(settings)
    result = await way.run(call, args, kwargs)             # in any event loop
    result = way.wait(call, args, kwargs)                  # in a thread
    async for item in way.iterate(call, args, kwargs): ...

Promises: everything that concerns Redis runs in the stores' thread, so callers may be in any loop
and thread; nothing connects before the first job. Redis away is a JobBusyError, in bounded time
(:mod:`tonnage.jobs.queue.posting`, :mod:`tonnage.jobs.queue.watch`). A call that is cancelled takes
its job back, unless that has an id and others may wait for it.

With an id a job is done once at a time, and whoever asks for it while it runs, or up to
:data:`~tonnage.jobs.queue.ticket.KEPT_SECONDS` after its success, has its result. Failures are not
kept: the next call tries again.

Bounded: :data:`MOST_WAITING` calls that wait in one process, each with a connection of its own;
``job_queue`` jobs that wait in the queue; values by :mod:`tonnage.jobs.queue.shelf`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import JobBusyError, JobError
from tonnage.jobs import wire
from tonnage.jobs.local import LONG_BYTES, packed, packed_in_thread, wait
from tonnage.jobs.outcomes import busy
from tonnage.jobs.queue.figures import QueueStatistics
from tonnage.jobs.queue.news import Kind
from tonnage.jobs.queue.posting import POST_SECONDS, Desk
from tonnage.jobs.queue.saqueue import client
from tonnage.jobs.queue.sealing import Sealer
from tonnage.jobs.queue.shelf import Shelf
from tonnage.jobs.queue.ticket import HEARTBEAT_SECONDS
from tonnage.jobs.queue.values import opened, room_to_load
from tonnage.jobs.queue.watch import Watch
from tonnage.stores.background import background

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from redis.asyncio import Redis

    from tonnage.jobs.call import Call
    from tonnage.jobs.queue.news import News
    from tonnage.jobs.queue.ticket import Ticket
    from tonnage.settings import JobSettings


#: Calls of one process that wait at once; more are refused.
MOST_WAITING: Final = 64


class QueueTransport:
    """The way of this process to the task queue.

    Args:
        settings: where it is, and the bounds.
        heartbeat_seconds: a worker that is not heard of for so long is taken for dead.

    Raises:
        ConfigError: the URL makes no sense, or a package is missing.
    """

    def __init__(
        self, settings: JobSettings, *, heartbeat_seconds: int = HEARTBEAT_SECONDS
    ) -> None:
        assert settings.jobs is not None
        self._settings = settings
        self._sealer = Sealer(settings.job_key)
        self._redis: Redis = client(
            settings.jobs, max_connections=MOST_WAITING + 8, socket_timeout=POST_SECONDS
        )
        self._shelf = Shelf(self._redis, settings.job_results)
        self._desk = Desk(self._redis, self._sealer, self._shelf, settings, heartbeat_seconds)
        self._counts = QueueStatistics()
        background().on_close(self.aclose)

    async def run(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], job_id: str | None = None
    ) -> Any:
        """Return what the function of *call* returns, somewhere else.

        Raises:
            JobBusyError: it does not get its turn, or the task queue cannot be reached.
            JobError: as :func:`tonnage.isolated` has them.
            Exception: what the function raises.
        """
        given = await packed(call, args, kwargs)
        ticket, last = await background().run(self._conduct(call, given, job_id))
        return await self._value(ticket, last)

    def wait(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], job_id: str | None = None
    ) -> Any:
        """Do the same in a thread."""
        given = packed_in_thread(call, args, kwargs)
        ticket, last = wait(self._conduct(call, given, job_id))
        with room_to_load(last):
            return opened(call, last, wait(self._fetch(ticket, last)))

    async def iterate(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Any]:
        """Yield what the generator of *call* yields; left early, it is ended.

        Raises:
            Exception: as :meth:`run`.
        """
        given = await packed(call, args, kwargs)
        watch = await background().run(self._begin(call, given, None, has_items=True))
        last: News | None = None
        try:
            while True:
                told = await background().run(self._next(watch))
                last = told if told.kind.is_last else None
                value = await self._value(watch.ticket, told)
                if told.kind.is_last:
                    return
                yield value
        finally:
            await background().run(self._end(watch, last))

    def statistics(self) -> QueueStatistics:
        """Return what this process has handed on so far."""
        return self._counts

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    # In the stores' thread.

    async def _conduct(
        self, call: Call, given: wire.Parcel, job_id: str | None
    ) -> tuple[Ticket, News]:
        watch = await self._begin(call, given, job_id)
        last: News | None = None
        try:
            last = await self._outcome(watch)
            return watch.ticket, last
        finally:
            await self._end(watch, last)

    async def _outcome(self, watch: Watch) -> News:
        """Return how the job ended; that it has begun is of no interest here."""
        while True:
            told = await self._next(watch)
            if told.kind.is_last:
                return told

    async def _begin(
        self, call: Call, given: wire.Parcel, job_id: str | None, *, has_items: bool = False
    ) -> Watch:
        try:
            if self._counts.waiting >= MOST_WAITING:
                raise busy("too much work waits already", f"{MOST_WAITING} jobs of this process")
            self._count(waiting=1)
            try:
                ticket, is_found = await self._desk.post(call, given, job_id, has_items=has_items)
            except BaseException:
                self._count(waiting=-1)
                raise
        except JobBusyError:
            self._count(refused=1)
            raise
        finally:
            given.close()
        self._count(joined=int(is_found), given=int(not is_found))
        return Watch(self._redis, ticket, self._sealer, self._settings.job_retries)

    async def _next(self, watch: Watch) -> News:
        try:
            return await watch.next()
        except JobBusyError:
            self._count(refused=1)
            raise
        except JobError:
            self._count(failed=1)
            raise
        except asyncio.CancelledError:
            self._count(cancelled=1)
            raise

    async def _end(self, watch: Watch, last: News | None) -> None:
        """Leave nothing of a job behind that nobody needs any more."""
        self._count(waiting=-1)
        if last is not None:
            is_done = last.kind is Kind.RESULT
            self._count(done=int(is_done), failed=int(not is_done))
        if not watch.ticket.is_kept:
            leave = self._desk.take_back if last is None else self._desk.clear
            # Not cut short where the caller is cancelled.
            await asyncio.shield(leave(watch.ticket))

    async def _fetch(self, ticket: Ticket, told: News) -> wire.Parcel:
        if told.where is None:
            return wire.Parcel(told.value)
        parcel = await self._shelf.fetch(told.where)
        if not ticket.is_kept:
            with suppress(JobError):  # it goes by itself, some time later
                await self._shelf.remove(told.where)
        return parcel

    async def _value(self, ticket: Ticket, told: News) -> Any:
        async with room_to_load(told):
            parcel = await background().run(self._fetch(ticket, told))
            if parcel.size_bytes > LONG_BYTES:
                return await asyncio.to_thread(opened, ticket.call, told, parcel)
            return opened(ticket.call, told, parcel)

    def _count(self, **more: int) -> None:
        now = self._counts
        self._counts = replace(now, **{name: getattr(now, name) + n for name, n in more.items()})
