"""Commands to one Redis or Valkey, from any thread and any event loop.

    redis = link()                                  # REDIS_URL; one for each process
    value = await redis.execute("GET", "greeting")  # in a coroutine
    value = redis.ask("GET", "greeting")            # in a thread
    redis.post("DEL", "greeting")                   # without waiting

Promises: nothing connects and no thread begins before the first command, so a module may make a
link when it is imported; one that was used before a fork begins anew in the child. No command waits
for longer than ``timeout_seconds`` (a quarter of a second; a tenth more where this process itself
was held up), not even when the server is stopped in its tracks. Once it is away
(:mod:`tonnage.breaker`) callers hear so at once, until it has answered in time to
somebody who tries in the background. Commands of one thread arrive in the order in which they were
given; those in flight when a connection is lost are not repeated.

The main thread's event loop, that of most applications, has a connection of its own, since another
thread would have to wait for the interpreter's lock while that loop is busy; everybody else shares
one in the stores' thread. So it is not for commands that block, nor for transactions and
subscriptions: those are for :func:`tonnage.redis_client`.

Bounded: these two connections, :data:`MOST_WAITING` commands of :data:`MOST_WAITING_BYTES` in all
that wait in this process; beyond them callers are refused at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tonnage.breaker import Breaker, State, backoff_seconds
from tonnage.errors import RedisAwayError, StoreError
from tonnage.stores.background import Background, background
from tonnage.stores.redis.connecting import (
    CONNECT_SECONDS,
    KEEP_ALIVE_SECONDS,
    NO_MEMORY_SECONDS,
    connection,
    required_url,
)
from tonnage.stores.redis.room import MOST_WAITING, MOST_WAITING_BYTES, RedisStatistics, Room
from tonnage.stores.redis.wire import Request, Wire, until_done

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio.connection import AbstractConnection

    from tonnage.stores.redis.wire import Answer, Argument

    Post = Callable[..., Future[Any]]

logger = logging.getLogger("tonnage.redis")

TIMEOUT_SECONDS: Final = 0.25
#: How long the last commands have when the process ends.
CLOSE_SECONDS: Final = 1.0


class _Here(NamedTuple):
    """What a link has in one process."""

    background: Background
    #: The connection of all threads but the main one's event loop.
    shared: Wire


class Link:
    """Who waits for one Redis, and whether it is there.

    Args:
        url: where it is.
        timeout_seconds: how long a command may take.
        most_waiting: how many may wait.
        keep_alive_seconds: after such a silence it is looked whether Redis is still there.

    Raises:
        ConfigError: redis-py is missing, or *url* makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        most_waiting: int = MOST_WAITING,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        self._url = url
        self._address = _address(connection(url))
        self._wired = (timeout_seconds, self, keep_alive_seconds)
        self._most_waiting = most_waiting
        self.begin_anew()
        _all.add(self)

    def begin_anew(self) -> None:
        """Forget what there was: the connections are the parent's; called in a forked child."""
        self._here: _Here | None = None
        # Of the main thread's loops: one, but for tests and scripts that run several in turn.
        self._own: dict[asyncio.AbstractEventLoop, Wire] = {}
        self._hooks: list[weakref.WeakMethod[Callable[[Post], None]]] = []
        # Held for microseconds; all below. An RLock: a finalizer, which the collector runs where it
        # likes, may have something forgotten.
        self._changing = threading.RLock()
        self._breaker = Breaker()
        self._probing: asyncio.Task[None] | None = None
        self._room = Room(self._most_waiting, MOST_WAITING_BYTES)

    # For callers, in any thread.

    @property
    def is_away(self) -> bool:
        """Whether Redis is away, so that a command would be refused at once."""
        return self._breaker.state is State.AWAY

    async def execute(self, *command: Argument) -> Any:
        """Return the answer to *command*: bytes, a number, None, or a list of such.

        Raises:
            RedisAwayError: Redis does not answer, or not in time, or too many wait.
            StoreError: Redis refuses the command; its cause is redis-py's ``ResponseError``.
            TypeError: it is none, or a part of it is not of text, bytes or a number.
        """
        wire = self._wire()
        if wire is self._process().shared:
            return await asyncio.wrap_future(self.post(*command))
        answer = wire.loop.create_future()
        self._give(wire, command, answer)
        return await answer

    def ask(self, *command: Argument) -> Any:
        """Return the same in a thread; it waits there.

        Raises:
            RedisAwayError: as :meth:`execute`.
            StoreError: as :meth:`execute`.
            TypeError: as :meth:`execute`.
        """
        answer: Future[Any] = Future()
        self._give(self._process().shared, command, answer)
        return answer.result()

    def post(self, *command: Argument) -> Future[Any]:
        """Send *command* and do not wait: the answer, or the error, is the future's.

        Raises:
            TypeError: as :meth:`execute`.
        """
        answer: Future[Any] = Future()
        # From now on it cannot be cancelled.
        answer.set_running_or_notify_cancel()
        self._give(self._wire(), command, answer)
        return answer

    def before_others(self, hook: Callable[[Post], None]) -> None:
        """Have *hook* called when Redis comes back, before anybody else can ask anything.

        What it posts, by the function that it is given, has been answered by then. It is called
        with the link locked: it must be quick, and use nothing else of the link. It is a method,
        whose object is not kept alive.
        """
        with self._changing:
            self._hooks = [each for each in self._hooks if each() is not None]
            self._hooks.append(weakref.WeakMethod(hook))

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Have *function* called in the stores' thread, in *seconds*."""
        there = self._process().background
        there.call(there.loop.call_later, seconds, function)

    @property
    def way(self) -> object:
        """What commands of this thread go through; commands of one way arrive in their order."""
        return self._wire()

    @property
    def way_of_threads(self) -> object:
        """What commands of :meth:`ask` go through, and what is posted before others."""
        return self._process().shared

    def statistics(self) -> RedisStatistics:
        """Return the state of the link, and what has become of commands so far."""
        with self._changing:
            return self._room.statistics(self._breaker)

    def close(self) -> None:
        """The same as :meth:`aclose`, where no event loop runs."""
        if self._here is not None:
            self._here.background.start(self._close()).result()

    async def aclose(self) -> None:
        """Close the connections, after the last answers; the next command connects anew."""
        if self._here is not None:
            await self._here.background.run(self._close())

    def __str__(self) -> str:
        # Never the URL: it holds the password.
        return self._address

    # As the owner of wires; in the thread of their loops.

    def asked(self, packed_bytes: int) -> None:
        """A request waits that is the wire's own."""
        with self._changing:
            self._room.enter_anyway(packed_bytes)

    def answered(self, packed_bytes: int) -> None:
        """A request has its answer."""
        with self._changing:
            self._room.leave(1, packed_bytes, with_answer=True)
            if self._breaker.state is State.NEW:
                self._breaker.come(time.monotonic())

    def unanswered(self, requests: int, packed_bytes: int) -> None:
        """This many *requests* have an error instead of an answer."""
        with self._changing:
            self._room.leave(requests, packed_bytes, with_answer=False)

    def lost(self, error: Exception) -> None:
        """Redis does not answer: keep callers away from it, and see when it comes back."""
        with self._changing:
            was = self._breaker.state
            is_told = self._breaker.lose(time.monotonic())
        if is_told:
            logger.warning(
                "Redis connection failed: %s: %s", self, str(error) or type(error).__name__
            )
        if was is not State.AWAY:
            self._process().background.call(self._probe)

    # Inside.

    def _process(self) -> _Here:
        """Return what this has in this process; made when it is first needed."""
        here = self._here
        if here is not None:
            return here
        with self._changing:
            if self._here is None:
                there = background()
                shared = Wire(there.loop, connection(self._url), *self._wired)
                self._here = _Here(there, shared)
                there.on_close(self._close)
            return self._here

    def _wire(self) -> Wire:
        """Return the connection for the caller's thread."""
        if threading.current_thread() is not threading.main_thread():
            return self._process().shared
        loop = asyncio._get_running_loop()
        if loop is None:
            return self._process().shared
        wire = self._own.get(loop)
        if wire is None:
            self._own = {each: old for each, old in self._own.items() if not each.is_closed()}
            wire = self._own[loop] = Wire(loop, connection(self._url), *self._wired)
        return wire

    def _give(self, wire: Wire, command: tuple[Argument, ...], answer: Answer) -> None:
        request = Request(command, answer)
        with self._changing:
            refusal = self._room.enter(len(request.packed), is_away=self.is_away)
        if refusal is None:
            wire.give(request)
        else:
            request.reject(RedisAwayError(refusal))

    # In the stores' thread.

    def _probe(self) -> None:
        if self._probing is None:
            self._probing = asyncio.get_running_loop().create_task(self._come_back())

    async def _come_back(self) -> None:
        """Try again and again, until Redis answers in time; then let everybody in."""
        try:
            while self.is_away:
                try:
                    await asyncio.sleep(backoff_seconds(self._breaker.retries))
                    # The first may connect; the second must be as quick as callers need it.
                    await self._ask_first("PING", within_seconds=CONNECT_SECONDS)
                    await self._ask_first("PING")
                    await self._let_in()
                except RedisAwayError:
                    continue  # that was told by the connection
                except StoreError as refusal:
                    self.lost(refusal)
                except MemoryError:
                    # Nobody else would look again.
                    time.sleep(NO_MEMORY_SECONDS)  # noqa: ASYNC251 - a timer would need memory
        finally:
            self._probing = None

    async def _let_in(self) -> None:
        """Have what the hooks post answered, until that is nothing; only then open."""
        while True:
            with self._changing:
                answers = self._post_owed()
                if not answers:
                    is_told = self._breaker.come(time.monotonic())
                    break
            for answer in answers:
                await asyncio.wrap_future(answer)
        if is_told:
            logger.warning("Redis is back: %s", self)

    def _post_owed(self) -> list[Future[Any]]:
        """Have the hooks post what has to come first; with the lock held."""
        answers: list[Future[Any]] = []

        def post(*command: Argument) -> Future[Any]:
            answers.append(self._post_first(*command))
            return answers[-1]

        for reference in self._hooks:
            hook = reference()
            if hook is not None:
                hook(post)
        return answers

    async def _ask_first(self, *command: Argument, within_seconds: float | None = None) -> Any:
        with self._changing:
            answer = self._post_first(*command, within_seconds=within_seconds)
        return await asyncio.wrap_future(answer)

    def _post_first(self, *command: Argument, within_seconds: float | None = None) -> Future[Any]:
        """Send a command although Redis is away; with the lock held."""
        answer: Future[Any] = Future()
        answer.set_running_or_notify_cancel()
        request = Request(command, answer)
        self._room.enter_anyway(len(request.packed))
        self._process().shared.give(request, within_seconds)
        return answer

    async def _close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        own, self._own = list(self._own.values()), {}
        for wire in own:
            # A loop that has ended has cancelled its tasks, or leaves it to the collector.
            if wire.loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(wire.close(CLOSE_SECONDS), wire.loop)
                await until_done([closing], 2 * CLOSE_SECONDS)
        with self._changing:
            # What is owed now would never be said.
            owed = self._post_owed()
        await until_done(owed, CLOSE_SECONDS)
        await self._process().shared.close(CLOSE_SECONDS)
        with self._changing:
            self._breaker.state = State.NEW


def _address(made: AbstractConnection) -> str:
    path = getattr(made, "path", None)
    return path or f"{getattr(made, 'host', '?')}:{getattr(made, 'port', '?')}"


# Those that a forked child has to begin anew.
_all: weakref.WeakSet[Link] = weakref.WeakSet()
_making = threading.Lock()
_links: dict[str, Link] = {}


def living() -> list[Link]:
    """Return the links of this process."""
    return list(_all)


def link(url: str | None = None) -> Link:
    """Return the link to *url*, by default to what REDIS_URL says: always the same.

    Raises:
        ConfigError: redis-py is missing, or there is no URL, or it makes no sense.
    """
    wanted = required_url() if url is None else url
    found = _links.get(wanted)
    if found is not None:
        return found
    with _making:
        found = _links.get(wanted)
        if found is None:
            found = _links[wanted] = Link(wanted)
        return found


def _after_fork() -> None:
    global _making  # somebody in the parent may have held it
    _making = threading.Lock()
    for each in _all:
        each.begin_anew()


os.register_at_fork(after_in_child=_after_fork)
