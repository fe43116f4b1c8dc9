"""Waiting for what is told of one job, in the stream that its worker writes.

Promises: whoever waits hears something. A job that has not begun in the time it may wait is
refused; one whose worker falls silent beyond all that retries take is given up; and Redis may be
away for :data:`AWAY_SECONDS` while a job runs, no longer. Waiting renews the lease with each
question, so once in :data:`ROUND_SECONDS`: what nobody waits for is ended by its worker. Items are
given once each and in their order, also where a second worker has begun anew.

One connection to Redis while it waits. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import JobError
from tonnage.jobs.outcomes import busy, timed_out
from tonnage.jobs.queue import news as stream
from tonnage.jobs.queue.heeding import Heed
from tonnage.jobs.queue.news import Kind, News
from tonnage.jobs.queue.ticket import (
    HANDOVER_SECONDS,
    HEARTBEAT_SECONDS,
    LEASE_SECONDS,
    longest_seconds,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tonnage.jobs.queue.sealing import Sealer
    from tonnage.jobs.queue.ticket import Ticket

#: How long Redis may be away while a job is waited for.
AWAY_SECONDS: Final = 10.0
#: How long one question waits for its answer in Redis.
ROUND_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 3.0
_AT_ONCE: Final = 16
_PAUSE_SECONDS: Final = 0.2


class Watch:
    """What comes of one job.

    Args:
        redis: the queue's, with a connection to spare.
        ticket: which job.
        sealer: what its news are sealed with.
        retries: how often it is tried again whose worker has died.
        patience_seconds: how long another worker may take to have a job whose worker is silent.
    """

    def __init__(
        self,
        redis: Redis,
        ticket: Ticket,
        sealer: Sealer,
        retries: int,
        patience_seconds: float = HEARTBEAT_SECONDS + HANDOVER_SECONDS,
    ) -> None:
        self.ticket = ticket
        self._redis = redis
        self._sealer = sealer
        self._begun_seconds = _now()
        self._latest_seconds = self._begun_seconds + longest_seconds(ticket.call, retries)
        self._until_seconds = self._begun_seconds + ticket.call.wait_seconds
        self._patience_seconds = (
            ticket.call.timeout_seconds + ticket.call.wait_seconds + patience_seconds
        )
        self._place: bytes | str = "0"
        self._unread: deque[News] = deque()
        # Of the attempt that is heard of now; 0: none has begun.
        self._attempt = 0
        self._items = 0
        self._away_since_seconds: float | None = None

    async def next(self) -> News:
        """Return the next item, or how the job ended.

        Raises:
            JobBusyError: it has not begun in time, Redis is away, or it has lost items.
            JobTimeoutError: nothing is heard of it any more.
            JobError: what is told of it has not the right seal.
        """
        heed = Heed()
        while True:
            heed.check()
            while self._unread:
                told = self._unread.popleft()
                if self._counts(told):
                    return told
            self._check_time()
            self._unread.extend(await self._read())

    def _counts(self, told: News) -> bool:
        """Take note of *told*; return whether the caller is to have it."""
        if told.kind is Kind.BEGUN:
            self._attempt = told.attempt
            self._until_seconds = _now() + self._patience_seconds
            return False
        if told.kind in (Kind.ITEM, Kind.RESULT) and told.number > self._items:
            why = "the work was not done to its end"
            raise busy(why, f"Redis has lost what {self._name} gave before")
        if told.kind is Kind.ITEM:
            # A worker taken for dead may go on, and its successor begins anew.
            if told.number < self._items:
                return False
            self._items += 1
        return True

    def _check_time(self) -> None:
        if _now() < min(self._until_seconds, self._latest_seconds):
            return
        if self._attempt == 0:
            raise busy("the work did not get its turn in time", f"no worker took {self._name}")
        raise timed_out(self.ticket.call, f"nothing was heard of {self._name} any more")

    async def _read(self) -> list[News]:
        try:
            async with asyncio.timeout(ROUND_SECONDS + _ANSWER_SECONDS):
                # Somebody waits, and has so many items.
                await self._redis.set(self.ticket.lease_key, self._items, ex=LEASE_SECONDS)
                answer: Any = await self._redis.xread(
                    {self.ticket.news_key: self._place},
                    count=_AT_ONCE,
                    block=int(self._round_seconds() * 1000),
                )
        except _away() as error:
            await self._stay_away(error)
            return []
        self._away_since_seconds = None
        return [self._understood(*entry) for _, entries in answer or () for entry in entries]

    def _round_seconds(self) -> float:
        left = min(self._until_seconds, self._latest_seconds) - _now()
        # 0 would be for ever.
        return max(0.01, min(left, ROUND_SECONDS))

    async def _stay_away(self, error: Exception) -> None:
        if self._away_since_seconds is None:
            self._away_since_seconds = _now()
        if _now() - self._away_since_seconds >= AWAY_SECONDS:
            why = "the task queue cannot be reached; what was asked for may have been done"
            raise busy(why, f"{self._name}: {error!s:.200}") from None
        await asyncio.sleep(_PAUSE_SECONDS)

    def _understood(self, place: bytes, entry: dict[bytes, bytes]) -> News:
        self._place = place
        try:
            return stream.read(entry, self.ticket, self._sealer)
        except ValueError as error:
            raise JobError(f"{error}: is TONNAGE_JOB_KEY the same everywhere?") from error

    @property
    def _name(self) -> str:
        return self.ticket.call.function


def _now() -> float:
    return asyncio.get_running_loop().time()


def _away() -> tuple[Any, ...]:
    """Return the errors that say that Redis cannot be asked now."""
    from redis.exceptions import RedisError

    return RedisError, OSError, TimeoutError
