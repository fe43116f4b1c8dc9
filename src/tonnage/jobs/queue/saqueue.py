"""The task queue itself: SAQ's, in Redis, with what a job's end needs beside it.

SAQ keeps which jobs wait and which are being done, gives back those of workers that are not heard
of any more, with a growing delay, and passes on that one is to be ended. What is added here: nobody
who waits for a job that SAQ has given up waits in vain, and a worker's memory and log stay small.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError
from tonnage.jobs.queue.news import Kind, News, tell
from tonnage.jobs.queue.ticket import FUNCTION, KEPT_SECONDS, QUEUE, Ticket
from tonnage.stores.redis.connecting import redis_client

try:
    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline
    from saq.job import Job, Status
    from saq.queue.redis import RedisQueue
except ImportError as error:
    raise ConfigError(f"TONNAGE_JOBS needs: pip install 'tonnage[jobs]' ({error})") from None

if TYPE_CHECKING:
    from tonnage.jobs.queue.sealing import Sealer

#: What is said of a job whose worker is not heard of.
LOST: Final = "its worker has died"
#: Until a job that was lost is tried again; doubled each time, up to the second.
_DELAY_SECONDS: Final = 0.5
_MOST_DELAY_SECONDS: Final = 10.0
#: How long a worker that is not heard of has to say that it lives.
_LAST_WORD_SECONDS: Final = 1.0

# It writes a line for each job, and a traceback for each second without Redis.
logging.getLogger("saq").setLevel(logging.CRITICAL)


class Queue(RedisQueue):
    """The queue as one process sees it; for one event loop.

    Args:
        redis: a client whose commands are bounded in time.
        sealer: what seals what is told of jobs.
    """

    def __init__(self, redis: Redis, sealer: Sealer) -> None:
        super().__init__(redis, name=QUEUE, swept_error_message=LOST)
        self._sealer = sealer

    async def sweep(self, lock: int = 60, abort: float = _LAST_WORD_SECONDS) -> list[str]:
        """Give back the jobs of workers that are not heard of."""
        return await super().sweep(lock, min(abort, _LAST_WORD_SECONDS))

    async def abort(self, job: Job, error: str, ttl: float = 5) -> None:
        """Have *job* ended; one that has ended meanwhile leaves nothing that stays for ever."""
        await super().abort(job, error, ttl)
        await self.redis.expire(job.id, KEPT_SECONDS)

    async def _finish(
        self, job: Job, status: Status, *, result: Any = None, error: str | None = None
    ) -> None:
        # Only what was ended by the queue: of everything else the worker has told.
        if status is not Status.COMPLETE and not (error == LOST and job.retryable):
            await self._tell_ended(job, error or "it was ended")
        await super()._finish(job, status, result=result, error=error)

    async def _tell_ended(self, job: Job, why: str) -> None:
        try:
            ticket = Ticket.from_fields((job.kwargs or {})["ticket"])
        except (KeyError, ValueError):
            return
        text = f"{ticket.call.function} was not done: {why}"
        if why == LOST:
            text += f", in each of {job.attempts} attempts"
        news = News(Kind.ENDED, job.attempts, 0, how="JobEndedError", text=text)
        await tell(self.redis, ticket, news, self._sealer, KEPT_SECONDS)


class _Pipeline(Pipeline):
    def setex(self, name: Any, time: Any, value: Any) -> Any:
        # SAQ's word for it, of which redis-py says each time that it is of yesterday.
        return self.set(name, value, ex=time)


class _Client(Redis):
    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


def client(url: str, **options: Any) -> Redis:
    """Return a client for the queue at *url*, bounded as ours are.

    Raises:
        ConfigError: redis-py is missing, or *url* makes no sense.
    """
    try:
        made = redis_client(url, **options)
    except ConfigError as error:
        raise ConfigError(str(error).replace("REDIS_URL", "TONNAGE_JOBS")) from None
    return _Client.from_pool(made.connection_pool)


def job_of(ticket: Ticket, key: str, seal: str, retries: int, heartbeat_seconds: int) -> Job:
    """Return SAQ's record of a job.

    Args:
        ticket: what is to be done.
        key: the queue takes one job of this key at a time.
        seal: that of *ticket*.
        retries: how often it is tried again whose worker has died.
        heartbeat_seconds: a worker that is not heard of for so long is taken for dead.
    """
    return Job(
        FUNCTION,
        kwargs={"ticket": ticket.as_fields(), "seal": seal},
        key=key,
        # The worker's own owner of jobs ends them in time, and tells how.
        timeout=0,
        heartbeat=heartbeat_seconds,
        retries=retries + 1,
        ttl=KEPT_SECONDS if ticket.is_kept else 60,
        retry_delay=_DELAY_SECONDS,
        retry_backoff=_MOST_DELAY_SECONDS,
    )


__all__ = ["LOST", "Job", "Queue", "Status", "client", "job_of"]
