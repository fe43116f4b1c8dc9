"""The other side of the task queue: takes jobs and runs each in a process of its own.

Each job goes to this machine's own owner of jobs, as those of a web worker do: in a bounded child,
``job_slots`` at once, within the memory limit found here. Where its memory does not come free in
the time that the call may wait, the job goes back onto the queue, for this machine or another.
What it is called with and what it returns is passed on as it is; nothing is unpickled here.

Promises: what has not the right seal does not run; nor does what nobody waits for any more, and it
is ended where that happens while it runs. Heartbeats tell that this worker lives; SAQ gives back
the jobs of one that is not heard of, and an attempt cut short by a stop does not count. A function
that raises, or whose process dies, has had its attempt: its caller hears so, and nobody repeats it.

Bounded: one task and one child for each slot, and a value at a time for each.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError
from saq.worker import Worker

from tonnage.errors import JobBusyError, JobError
from tonnage.jobs import wire
from tonnage.jobs.asked import Asked
from tonnage.jobs.caller import caller
from tonnage.jobs.queue import news as stream
from tonnage.jobs.queue.heeding import Heed
from tonnage.jobs.queue.news import Kind, News
from tonnage.jobs.queue.posting import DONE
from tonnage.jobs.queue.saqueue import Queue, client
from tonnage.jobs.queue.sealing import Sealer
from tonnage.jobs.queue.shelf import Shelf
from tonnage.jobs.queue.ticket import FUNCTION, KEPT_SECONDS, Ticket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from redis.asyncio import Redis
    from saq.types import WorkerInfo

    from tonnage.jobs.queue.saqueue import Job
    from tonnage.settings import JobSettings

logger = logging.getLogger("tonnage.jobs")

#: In seconds, how often SAQ looks for jobs that are due, to be ended, or whose worker is dead.
TIMERS: Final = {"schedule": 1, "abort": 1, "sweep": 2, "worker_info": 2}
#: How many items a job may be ahead of its reader.
MOST_AHEAD: Final = 16
_SOCKET_SECONDS: Final = 5.0
_DEQUEUE_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 5.0
_BEATS: Final = 4
# How often in a row there has to be no lease. Redis may have lost it, in a restart: then whoever
# waits makes it anew before the second look.
_LOOKS: Final = 2
_PAUSE_SECONDS: Final = 0.05
_SWEEP_SECONDS: Final = 60.0
_FAILED: Final = "failed"


class NotNowError(Exception):
    """A job goes back onto the queue."""


class QueueWorker(Worker[Any]):
    """Takes jobs until SIGTERM or SIGINT.

    Args:
        settings: where the queue is, and how many jobs at once.
        stop_seconds: how long jobs may go on once it is to stop.

    Raises:
        ConfigError: the URL makes no sense, or a package is missing.
    """

    def __init__(self, settings: JobSettings, stop_seconds: float) -> None:
        assert settings.jobs is not None
        self._sealer = Sealer(settings.job_key)
        self._redis: Redis = client(
            settings.jobs,
            max_connections=2 * settings.job_slots + 8,
            socket_timeout=_SOCKET_SECONDS,
        )
        self._shelf = Shelf(self._redis, settings.job_results)
        self._upkeep: list[asyncio.Task[None]] = []
        self._is_away = False
        super().__init__(
            Queue(self._redis, self._sealer),
            [(FUNCTION, self._do)],
            concurrency=settings.job_slots,
            timers=TIMERS,  # type: ignore[arg-type]
            dequeue_timeout=_DEQUEUE_SECONDS,
            shutdown_grace_period_s=math.ceil(stop_seconds),
            cancellation_hard_deadline_s=_LAST_SECONDS,
        )

    async def upkeep(self) -> list[asyncio.Task[None]]:
        """Begin what is done beside jobs; not for SAQ to wait for when it stops."""
        self._upkeep = [*await super().upkeep(), asyncio.create_task(self._sweep_store())]
        return []

    async def stop(self) -> None:
        """Take no more jobs; finish those that run, or give them back."""
        try:
            await super().stop()
        finally:
            for task in self._upkeep:
                task.cancel()
            await asyncio.gather(*self._upkeep, return_exceptions=True)

    async def worker_info(self, ttl: int = 60) -> WorkerInfo:
        """Tell the queue that this worker is there; tell the log when the queue is not."""
        try:
            found = await super().worker_info(ttl)
        except (RedisError, OSError) as error:
            if not self._is_away:
                logger.warning("the task queue cannot be reached: %.200s", error)
            self._is_away = True
            raise
        if self._is_away:
            logger.warning("the task queue is back")
        self._is_away = False
        return found

    # One job.

    async def _do(self, context: Any, *, ticket: dict[str, Any], seal: str) -> str:
        """Do the job of *ticket*; return how it went, which is all that SAQ keeps of it."""
        job: Job = context["job"]
        wanted = Ticket.from_fields(ticket)
        if not self._sealer.fits(seal, job.key, ticket):
            logger.error("a job of the task queue is refused: it has not the right seal")
            # Its caller finds that this has another's seal, which tells enough.
            await self._tell(wanted, News(Kind.ENDED, job.attempts, 0))
            return _FAILED
        try:
            async with self._beating(job, wanted):
                last = await self._answer(wanted, job.attempts)
        except (asyncio.CancelledError, JobBusyError, RedisError, OSError) as error:
            # It goes back, or was taken back, or cannot be told of; that was no attempt.
            job.attempts -= 1
            if isinstance(error, JobBusyError):
                raise NotNowError(str(error)) from None
            raise
        # Whoever waits leaves when he hears that: nobody looks for him any more.
        await self._tell(wanted, last)
        # Else it goes by itself, some time later.
        with suppress(JobError, RedisError, OSError):
            await self._shelf.remove(wanted.given)
        return DONE if last.kind is Kind.RESULT else _FAILED

    async def _answer(self, ticket: Ticket, attempt: int) -> News:
        """Have the job done, and tell of its items; return how it ended."""
        if not await self._redis.exists(ticket.lease_key):
            text = f"{ticket.call.function} was not begun: nobody waited for it any more"
            return News(Kind.ENDED, attempt, 0, how="JobEndedError", text=text)
        number = 0
        await self._tell(ticket, News(Kind.BEGUN, attempt, 0))
        try:
            given = await self._shelf.fetch(ticket.given)
            async with aclosing(self._answers(ticket, given)) as answers:
                async for kind, parcel in answers:
                    told = await self._news(ticket, kind, parcel, attempt, number)
                    number += 1
                    if told.kind.is_last:
                        return told
                    await self._tell(ticket, told)
            raise AssertionError("a job's answers end with the last one")
        except JobBusyError:
            raise
        except JobError as error:
            text = "; ".join([str(error), *getattr(error, "__notes__", ())])
            return News(Kind.ENDED, attempt, number, how=type(error).__name__, text=text)

    async def _answers(
        self, ticket: Ticket, given: wire.Parcel
    ) -> AsyncGenerator[tuple[Kind, wire.Parcel]]:
        """Yield what comes of the job in its own process on this machine."""
        kinds = {wire.Kind.ITEM: Kind.ITEM, wire.Kind.RESULT: Kind.RESULT}
        async with Asked(ticket.call, given, caller()) as asked:
            items = 0
            while True:
                # Of other jobs nobody reads that, and what is unread would cut off the answer.
                if ticket.has_items:
                    await self._let_catch_up(ticket, items)
                    asked.want_item()
                kind, parcel = await asked.receive()
                try:
                    yield kinds.get(kind, Kind.ERROR), parcel
                finally:
                    parcel.close()
                items += 1

    async def _let_catch_up(self, ticket: Ticket, items: int) -> None:
        """Wait until whoever reads the items has nearly all of them."""
        heed = Heed()
        while True:
            heed.check()
            read = await self._redis.get(ticket.lease_key)
            if read is not None and items - int(read) < MOST_AHEAD:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _news(
        self, ticket: Ticket, kind: Kind, parcel: wire.Parcel, attempt: int, number: int
    ) -> News:
        if parcel.size_bytes <= wire.INLINE_BYTES:
            return News(kind, attempt, number, b"".join(parcel.chunks()))
        where = await self._shelf.put(parcel, KEPT_SECONDS)
        return News(kind, attempt, number, where=where)

    async def _tell(self, ticket: Ticket, told: News) -> None:
        await stream.tell(self._redis, ticket, told, self._sealer, KEPT_SECONDS)

    # Beside it.

    @asynccontextmanager
    async def _beating(self, job: Job, ticket: Ticket) -> AsyncIterator[None]:
        """Tell that the job is being done; end it when nobody waits for it any more."""
        beating = asyncio.create_task(self._beat(job, ticket))
        try:
            yield
        finally:
            beating.cancel()
            # Not awaited itself: what is cancelled here meanwhile is this job.
            await asyncio.wait([beating])

    async def _beat(self, job: Job, ticket: Ticket) -> None:
        missed, heed = 0, Heed()
        while not heed.is_cancelled:
            await asyncio.sleep(job.heartbeat / _BEATS)
            try:
                await job.update()
                missed = 0 if await self._redis.exists(ticket.lease_key) else missed + 1
                if missed >= _LOOKS:
                    logger.info("%s is ended: nobody waits for it", ticket.call.function)
                    await self.queue.abort(job, "nobody waits for it any more")
            except (RedisError, OSError):
                continue  # should it last, another worker takes the job

    async def _sweep_store(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                removed = await self._shelf.sweep()
            except JobError as error:
                logger.warning("%s", error)
            else:
                if removed:
                    logger.info("removed %d values that nobody has fetched", removed)
