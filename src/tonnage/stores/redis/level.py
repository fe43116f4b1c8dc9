"""A cache's level in Redis, for all instances: what one has made, the others find.

    level = RedisLevel("events")                  # REDIS_URL
    look = await level.look_async("'event:7'", ("event:7",))

Promises (:class:`tonnage.stores.levels.FarLevel`): a look is one round trip, and a miss at once
where Redis is away; telling it something never waits. What was forgotten is not found again, also
if Redis was away just then: that is remembered, and said before anybody here looks again. How Redis
itself sees to it is :mod:`tonnage.stores.redis.layout`'.

Bounded: in Redis by its own ``maxmemory``, by lifetimes of a day at most, and by values of
``most_bytes``; here what it owes (:mod:`tonnage.stores.redis.debts`). A process that ends while
Redis is away takes that with it: then lifetimes are what is left.
"""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tonnage.breaker import Breaker, State
from tonnage.errors import RedisAwayError, StoreError
from tonnage.stores.bulletin import KEY, TAG, announce
from tonnage.stores.levels import Found, Look
from tonnage.stores.redis import coding
from tonnage.stores.redis.connecting import check, required_url
from tonnage.stores.redis.debts import EVERYTHING, Debts
from tonnage.stores.redis.exchange import hold, hold_async, is_unknown_script
from tonnage.stores.redis.layout import AsOf, Layout, read
from tonnage.stores.redis.link import link
from tonnage.stores.redis.news import listen
from tonnage.units import KIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from tonnage.stores.levels import Codec
    from tonnage.stores.redis.exchange import Steps
    from tonnage.stores.redis.link import Link

logger = logging.getLogger("tonnage.redis")

#: Values that take more are not kept there, nor read.
MOST_BYTES: Final = 512 * KIB

# Of a look that could not be: what is made after it is not kept there.
_NEVER: Final = object()


class _Reached(NamedTuple):
    """What a level has in one process."""

    link: Link
    debts: Debts
    pid: int


class RedisLevel:
    """What one cache keeps in Redis.

    Args:
        name: the cache's; those of one name share what they have.
        url: where Redis is; by default what REDIS_URL says.
        codec: how values are written; by default as JSON.
        most_bytes: what a value may take, before it is compressed.
        clock: monotonic seconds; for how often something is told.

    Raises:
        ConfigError: redis-py is missing, or there is no URL, or it makes no sense.
    """

    def __init__(
        self,
        name: str,
        url: str | None = None,
        *,
        codec: Codec | None = None,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._url = required_url() if url is None else url
        check(self._url)
        # Made with the first use: what the zygote imports connects in the workers.
        self._reached: _Reached | None = None
        self._codec = codec
        self._most_bytes = most_bytes
        self._layout = Layout(name)
        self._is_told_of: set[str] = set()
        self._clock = clock
        # Whether values can be kept, where Redis is there.
        self._keeping = Breaker()
        #: Values that were larger than it takes, and those that its codec could not write.
        self.too_large = self.not_written = 0

    @property
    def owed(self) -> int:
        """How many things Redis has yet to hear are to be forgotten."""
        return len(self._reached.debts) if self._reached is not None else 0

    def _reach(self) -> _Reached:
        """Return what this level has in this process; a child begins anew."""
        reached, pid = self._reached, os.getpid()
        if reached is None or reached.pid != pid:
            complain = partial(
                self._tell, "forgetting", "cannot have Redis forget, so nothing found counts: %s"
            )
            found = link(self._url)
            debts = Debts(found, self._layout.forget, complain, partial(announce, self.name))
            reached = self._reached = _Reached(found, debts, pid)
            listen(self._url, self.name)
        return reached

    # Looking.

    def look(self, key: str, tags: Sequence[str] = ()) -> Look:
        """Return what there is of *key*; the calling thread waits."""
        redis = self._reach().link
        return hold(redis, self._looking(key, tags, redis.way_of_threads))

    async def look_async(self, key: str, tags: Sequence[str] = ()) -> Look:
        """Return what there is of *key*; the calling task waits."""
        redis = self._reach().link
        return await hold_async(redis, self._looking(key, tags, redis.way))

    def _looking(self, key: str, tags: Sequence[str], way: object) -> Steps[Look]:
        """Yield what to ask Redis, take its answers, and return what they mean."""
        redis, debts, _ = self._reach()
        if redis.is_away:
            return Look(None, _NEVER)
        owed = debts.elsewhere(way)
        try:
            try:
                answer = yield self._layout.look(key, tags, self._most_bytes, is_known=True)
            except StoreError as error:
                if not is_unknown_script(error):
                    raise
                answer = yield self._layout.look(key, tags, self._most_bytes, is_known=False)
            packed, found_tags, left_seconds, as_of = read(answer, tags)
        except RedisAwayError:
            return Look(None, _NEVER)
        except (StoreError, ValueError, TypeError) as error:
            self._tell("reading", "cannot read what is in Redis: %s", error)
            return Look(None, _NEVER)
        if not owed.isdisjoint([(KEY, key), EVERYTHING, *((TAG, tag) for tag in found_tags)]):
            return Look(None, _NEVER)
        if packed is None:
            return Look(None, as_of)
        try:
            value = coding.read(packed, self._codec, self._most_bytes)
        except Exception as error:  # noqa: BLE001  (the codec's too: what cannot be read is a miss)
            self._tell("decoding", "cannot read a value that is in Redis: %s", error)
            return Look(None, as_of)
        return Look(Found(value, left_seconds, found_tags), as_of)

    # Telling.

    def keep(
        self, key: str, value: Any, *, as_of: object, lasts_seconds: float, tags: Sequence[str] = ()
    ) -> bool:
        """Send *value*; return whether it will be tried."""
        is_now = as_of is None
        redis = self._reach().link
        command = None
        if (is_now or isinstance(as_of, AsOf)) and not redis.is_away:
            packed = self._packed(value)
            if packed is not None:
                then = as_of if isinstance(as_of, AsOf) else None
                command = self._layout.keep(key, packed, lasts_seconds, tags, then)
        if command is None:
            if is_now:
                # What is there for the key is no longer it.
                self.forget_key(key)
            return False
        redis.post(*command).add_done_callback(partial(self._kept, key, is_now))
        return True

    def _kept(self, key: str, is_now: bool, answer: Future[Any]) -> None:
        error = answer.exception()
        if error is None:
            if self._keeping.state is State.AWAY and self._keeping.come(self._clock()):
                logger.warning("cache %r keeps values in Redis again", self.name)
            return
        if not isinstance(error, RedisAwayError) and self._keeping.lose(self._clock()):
            logger.warning("cache %r cannot keep values in Redis: %s", self.name, error)
        if is_now:
            self.forget_key(key)

    def forget_key(self, key: str) -> None:
        """Send that *key* is not to be found any more, here and in other instances' memory."""
        self._reach().debts.owe([(KEY, key)])

    def forget_tags(self, tags: Sequence[str]) -> None:
        """Send that nothing with any of *tags* is; here and in other instances' memory."""
        self._reach().debts.owe([(TAG, tag) for tag in tags])

    def clear(self) -> None:
        """Send that nothing is; here and in other instances' memory."""
        self._reach().debts.owe([EVERYTHING])

    def _packed(self, value: object) -> bytes | None:
        written = coding.write(value, self._codec)
        if written is None:
            self.not_written += 1
            self._tell(
                "codec",
                "keeps values of %s in memory only, since JSON would not give the same back:"
                " pass codec= to share them",
                type(value).__qualname__,
            )
            return None
        if len(written) > self._most_bytes:
            self.too_large += 1
            self._tell("size", "keeps a value of %d bytes in memory only", len(written))
            return None
        return coding.pack(written)

    def _tell(self, about: str, what: str, *given: object) -> None:
        """Log it, once for each cache."""
        if about not in self._is_told_of:
            self._is_told_of.add(about)
            logger.warning(f"cache %r {what}", self.name, *given)
