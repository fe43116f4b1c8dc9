"""Rate limits that all instances of an application share, through Redis or Valkey.

A request counts in the table of its machine (:mod:`tonnage.rates.table`) and in Redis, and
has to pass both. So nothing is given away when Redis is lost: each instance goes on with what its
own table knows; nor when Redis comes back and knows less than the table. Whoever the table refuses
is refused without asking Redis.

In Redis one script (:data:`SCRIPT`) does it in one step, for all limits of a rule together, at
the clock of the server, so that those of instances need not agree: a request that one limit refuses
counts nowhere. What is kept there is a number for each limit of a client, under
``tonnage:rate:`` and a hash, for as long as it says anything.

Promises: a request waits for Redis for a quarter of a second at most, and not at all while Redis is
away (:mod:`tonnage.stores.redis.link`). Where Redis is not configured, nothing of this is imported.

Instances have to agree in the names of routes and limits, and Redis has to let them run scripts.
Applications that share a Redis and nothing else each take a database of their own
(``redis://host/1``).
"""

from __future__ import annotations

import logging
import time
from hashlib import blake2b, sha1
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from tonnage.breaker import Breaker, State
from tonnage.errors import RedisAwayError, StoreError
from tonnage.problem import Problem
from tonnage.stores.redis.exchange import hold, hold_async, is_unknown_script
from tonnage.stores.redis.link import link

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.stores.redis.exchange import Steps
    from tonnage.stores.redis.link import Link
    from tonnage.stores.redis.wire import Argument
    from tonnage.web.path.ratelimit import Counted, RateLimiter, Said
    from tonnage.web.respond import Scope

logger = logging.getLogger("tonnage.requests")

#: The virtual scheduling of :mod:`tonnage.rates.gcra`, for several limits. KEYS: where the TAT
#: of each is, in microseconds. ARGV: the interval and the burst's time of each, likewise. Returns
#: what is left of each, below zero where it refuses.
SCRIPT: Final = b"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local left, fits = {}, true
for i, tat in ipairs(redis.call('MGET', unpack(KEYS))) do
  local interval, full = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local used = math.min(math.max((tonumber(tat) or 0) - now, 0), full)
  left[i] = math.floor(full - interval - used)
  fits = fits and left[i] >= 0
end
if fits then
  for i, key in ipairs(KEYS) do
    local used = tonumber(ARGV[2 * i]) - left[i]
    redis.call('SET', key, string.format('%.0f', now + used), 'PX', math.ceil(used / 1000))
  end
end
return left
"""

_PREFIX: Final = "tonnage:rate:"
_MICROSECOND_NS: Final = 1000
_SECRET_BYTES: Final = 16


def secret_of(url: str) -> bytes:
    """Return what keys are hashed with: all instances know it, and without a password others too.

    Two URLs of one server may differ in all else, and mean the same.
    """
    parts = urlsplit(url)
    password = parts.password or "".join(parse_qs(parts.query).get("password", ()))
    key = b"tonnage rate limits"
    return blake2b(password.encode(), key=key, digest_size=_SECRET_BYTES).digest()


_DIGEST: Final = sha1(SCRIPT, usedforsecurity=False).hexdigest()


class RedisRates:
    """Where limits count for all instances: one for the limiters of an application.

    Args:
        url: where Redis is; connected to when it is first asked, in a worker.
        clock: monotonic seconds; for how often something is told.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        #: What keys of clients are to be hashed with.
        self.secret: Final = secret_of(url)
        self._clock = clock
        # Whether Redis counts, where it is there.
        self._counting = Breaker()

    def limiter(self, here: RateLimiter) -> SharedRateLimiter:
        """Return one that counts by *here*, and in Redis."""
        return SharedRateLimiter(here, self)

    @property
    def link(self) -> Link:
        """The link of this process.

        Raises:
            ConfigError: redis-py is missing, or the URL makes no sense.
        """
        return link(self._url)

    def count(self, counted: list[Counted]) -> Steps[list[int]]:
        """Have Redis count what was *counted* here, and return what is left there.

        Raises:
            StoreError: it has not counted.
        """
        arguments: list[Argument] = [len(counted)]
        arguments += (f"{_PREFIX}{key:016x}" for _, _, key in counted)
        for _, meter, _ in counted:
            for figure_ns in (meter.rate.interval_ns, meter.rate.full_ns):
                arguments.append(figure_ns / _MICROSECOND_NS)
        try:
            left: list[int] = yield ("EVALSHA", _DIGEST, *arguments)
        except StoreError as error:
            if not is_unknown_script(error):
                raise
            left = yield ("EVAL", SCRIPT, *arguments)
        return left

    def note_answer(self) -> None:
        """Note that Redis has counted."""
        if self._counting.state is State.AWAY and self._counting.come(self._clock()):
            logger.warning("rate limits count in Redis again")

    def note_refusal(self, error: StoreError) -> None:
        """Note that Redis has not counted; that it is away, its link has told."""
        if not isinstance(error, RedisAwayError) and self._counting.lose(self._clock()):
            logger.warning("rate limits count in each instance by itself: %s", error)


class SharedRateLimiter:
    """The limits of one rule, counted here and in Redis.

    Args:
        here: counts in the table of this machine; its keys are hashed with the secret of *there*.
        there: counts for all instances.
    """

    def __init__(self, here: RateLimiter, there: RedisRates) -> None:
        self._here = here
        self._there = there

    async def check(self, scope: Scope) -> Said:
        """Count the request of *scope*: return the headers for its response, or the 429."""
        return await hold_async(self._there.link, self._checking(scope))

    def check_in_thread(self, scope: Scope) -> Said:
        """Do the same where nothing can be awaited."""
        return hold(self._there.link, self._checking(scope))

    def _checking(self, scope: Scope) -> Steps[Said]:
        """Count here, have Redis count, and return what follows from both."""
        counted = self._here.count(scope)
        if isinstance(counted, Problem):
            return counted
        if not counted or self._there.link.is_away:
            return self._here.headers(counted)
        try:
            there = yield from self._there.count(counted)
        except StoreError as error:
            self._there.note_refusal(error)
            return self._here.headers(counted)
        self._there.note_answer()
        return self._judge(scope, counted, there)

    def _judge(self, scope: Scope, counted: list[Counted], there: list[int]) -> Said:
        """Return what follows from what is left here, and there in microseconds."""
        least = [
            (min(left_ns, left_us * _MICROSECOND_NS), meter, key)
            for (left_ns, meter, key), left_us in zip(counted, there, strict=True)
        ]
        if any(left_ns < 0 for left_ns, _, _ in least):
            self._here.give_back(counted)
            return self._here.refuse(scope, least)
        return self._here.headers(least)
