"""What caches of one instance tell those of others: that something is to be forgotten.

    post("PUBLISH", *notice("events", TAG, "event:7"))      # the level does it in one step
    listen(url, "events")                # hears such, and posts them on the bulletin

Promises: a notice reaches every cache of that name on every machine that is connected, by way of
the bulletin (:mod:`tonnage.stores.bulletin`), so that it is enough if one worker of a machine hears
it; its own server's are not heard again. Whenever the connection was lost notices may have been
missed: then the caches that have a level there are emptied, since anything in them may be stale.

Bounded: one connection and one task for each process. What is heard may come from anybody who can
write to Redis: it can have caches forget, and nothing else. Notices are not kept for those that are
away. A process that has just begun hears them from its first connection on, some milliseconds after
its first use of Redis.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from functools import cache
from typing import TYPE_CHECKING, Final

from tonnage.breaker import QUIET_SECONDS, STEADY_SECONDS, backoff_seconds
from tonnage.errors import StoreError
from tonnage.host.commons import share
from tonnage.stores.background import background
from tonnage.stores.bulletin import CLEAR, KEY, TAG, announce
from tonnage.stores.names import key_of
from tonnage.stores.redis.connecting import (
    CONNECT_SECONDS,
    KEEP_ALIVE_SECONDS,
    NO_MEMORY_SECONDS,
    connection,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio.connection import AbstractConnection

    from tonnage.host.commons import Region

logger = logging.getLogger("tonnage.redis")

CHANNEL: Final = "tonnage:1:news"

# Words: which server this is; how many notices were obeyed; then the last of them, by their number.
_ORIGIN: Final = 0
_COUNT: Final = 1
_FIRST: Final = 2
_OBEYED: Final = 254
_REGION_BYTES: Final = 8 * (_FIRST + _OBEYED)


def notice(name: str, kind: int, what: str) -> tuple[str, bytes]:
    """Return the channel and the message: caches called *name* are to forget *what*."""
    number = int.from_bytes(os.urandom(8))
    return CHANNEL, json.dumps([_origin(), number, name, kind, what]).encode()


class News:
    """Hears what other instances say, for as long as the process lives.

    Args:
        url: where Redis is.
        keep_alive_seconds: after such a silence it is looked whether Redis is still there.
        clock: monotonic seconds; for how often something is told.
    """

    def __init__(
        self,
        url: str,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep_alive_seconds = keep_alive_seconds
        self._connection: AbstractConnection = connection(url)
        # The caches of this process that are to be emptied when something was missed.
        self._names: set[str] = set()
        self._is_told = False
        self._may_have_missed = False
        self._clock = clock
        self._emptied_seconds = float("-inf")
        self._listening: asyncio.Task[None] | None = None
        background().call(self._start)
        background().on_close(self.aclose)

    def concern(self, name: str) -> None:
        """Note that there is a cache called *name* here; as many as the application has."""
        self._names.add(name)

    async def aclose(self) -> None:
        """Hear no more; in the stores' thread."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.wait([listening])

    def _start(self) -> None:
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_anew()
            except MemoryError:
                # Nobody else would listen again.
                time.sleep(NO_MEMORY_SECONDS)  # noqa: ASYNC251 - a timer would need memory

    async def _listen_anew(self) -> None:
        loop = asyncio.get_running_loop()
        retries = 0
        while True:
            begun_seconds = loop.time()
            try:
                await self._subscribe()
                if self._may_have_missed:
                    self._forget_all()
                await self._hear()
            except Exception as error:  # noqa: BLE001  (of many libraries: DNS, TLS, redis-py)
                self._tell(error)
            finally:
                self._may_have_missed = True
                await self._connection.disconnect(nowait=True)
            retries = 1 if loop.time() - begun_seconds > STEADY_SECONDS else retries + 1
            await asyncio.sleep(backoff_seconds(retries))

    async def _subscribe(self) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            await self._connection.connect()  # type: ignore[no-untyped-call]
            await self._connection.send_command("SUBSCRIBE", CHANNEL, check_health=False)
            await self._connection.read_response(disable_decoding=True)

    async def _hear(self) -> None:
        is_asked = False
        while True:
            message = await self._connection.read_response(
                disable_decoding=True, timeout=self._keep_alive_seconds
            )
            if message is not None:
                is_asked = False
                if message[0] == b"message":
                    _obey(message[2])
            elif is_asked:
                raise TimeoutError("no sign of life")
            else:
                await self._connection.send_command("PING", check_health=False)
                is_asked = True

    def _forget_all(self) -> None:
        now_seconds = self._clock()
        if now_seconds - self._emptied_seconds >= QUIET_SECONDS:
            self._emptied_seconds = now_seconds
            logger.info("caches are emptied, since what other instances said may have been missed")
        for name in tuple(self._names):
            announce(name, CLEAR)

    def _tell(self, error: Exception) -> None:
        from redis.exceptions import ResponseError

        # That Redis is away is the link's to say; this is something else, such as a missing right.
        if isinstance(error, ResponseError) and not self._is_told:
            self._is_told = True
            logger.warning("Redis does not let this process hear other instances: %s", error)


def _obey(message: bytes) -> None:
    """Do what a notice says, unless it came from here, or another worker has done so."""
    try:
        origin, number, name, kind, what = json.loads(message)
        is_sound = isinstance(name, str) and isinstance(what, str) and kind in (KEY, TAG, CLEAR)
        is_sound = is_sound and type(kind) is type(number) is int
        if not is_sound or not 0 <= number < 1 << 64:
            return
        if kind == KEY:
            key_of(what)
    except (ValueError, TypeError, RecursionError, StoreError):
        return
    region = _region()
    if origin == _origin() or number in region.words[_FIRST:].tolist():
        return
    announce(name, kind, what)
    # Only now: if this process dies before, another does it.
    with region.locked():
        region.words[_FIRST + region.words[_COUNT] % _OBEYED] = number
        region.words[_COUNT] += 1


@cache
def _region() -> Region:
    return share("redis news", _REGION_BYTES)


@cache
def _origin() -> int:
    """Return the number of this server, the same in all its processes."""
    region = _region()
    with region.locked():
        if not region.words[_ORIGIN]:
            region.words[_ORIGIN] = int.from_bytes(os.urandom(8)) | 1
        return region.words[_ORIGIN]


_making = threading.Lock()
_news: dict[str, News] = {}


def listen(url: str, name: str) -> None:
    """Have this process hear what other instances say to caches called *name*."""
    with _making:
        found = _news.get(url)
        if found is None:
            found = _news[url] = News(url)
    found.concern(name)


def _after_fork() -> None:
    global _news, _making  # the connections are the parent's
    _news, _making = {}, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
