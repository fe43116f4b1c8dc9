"""One connection to Redis, in one event loop, with many commands under way at once.

Promises: commands go out in the order in which they were given, together where they come together,
and each gets its answer or an error in its time. Connects when there is something to send; when it
is lost, whoever waited hears so, and where nobody did it is tried once whether Redis is there. When
a command is not answered in time the connection is given up, since answers come in order: all that
is behind it would be late too. What Redis has not read of them by then is not kept for it.

Decides nothing else: whether to ask at all is the link's (:mod:`tonnage.stores.redis.link`), which
also bounds how many wait.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, Protocol

from tonnage.errors import RedisAwayError, StoreError
from tonnage.stores.redis.connecting import (
    CONNECT_SECONDS,
    KEEP_ALIVE_SECONDS,
    NO_MEMORY_SECONDS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio.connection import AbstractConnection

    Argument = str | bytes | int | float
    Answer = asyncio.Future[Any] | Future[Any]

# A deadline that is noticed so late was missed by this process, and not by Redis alone: what has
# arrived has to be read first.
_LATE_SECONDS: Final = 0.01
_GRACE_SECONDS: Final = 0.1


class Owner(Protocol):
    """Who is told what becomes of a wire; in its loop's thread."""

    def asked(self, packed_bytes: int) -> None:
        """A request waits that the owner has not given."""

    def answered(self, packed_bytes: int) -> None:
        """A request waits no longer: it has its answer."""

    def unanswered(self, requests: int, packed_bytes: int) -> None:
        """This many *requests* wait no longer: they have an error."""

    def lost(self, error: Exception) -> None:
        """Somebody waited, and the connection failed, or was lost, or is silent."""


class Request:
    """A command that waits for its answer, which *future* gets.

    Raises:
        TypeError: it is no command.
    """

    __slots__ = ("due_seconds", "future", "name", "packed")

    def __init__(self, command: tuple[Argument, ...], future: Answer) -> None:
        if not command:
            raise TypeError("a command needs a name at least")
        self.name = command[0]
        self.packed = pack(command)
        self.future = future
        #: By the clock of the wire's loop; the wire sets it.
        self.due_seconds = 0.0

    def resolve(self, answer: object) -> None:
        """Hand over the answer; somebody may have stopped waiting for it."""
        if not self.future.done():
            self.future.set_result(answer)

    def reject(self, error: Exception) -> None:
        """Hand over an error instead."""
        if not self.future.done():
            self.future.set_exception(error)


class Wire:
    """The connection, and who waits for it.

    Args:
        loop: where it is to live.
        connection: redis-py's, not connected yet.
        timeout_seconds: how long a command may take, with the connecting that it may need.
        owner: who is told.
        keep_alive_seconds: after such a silence it is looked whether Redis is still there.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: AbstractConnection,
        timeout_seconds: float,
        owner: Owner,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        self.loop: Final = loop
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._owner = owner
        self._keep_alive_seconds = keep_alive_seconds
        # Given by any thread, and whether the loop knows that there is something. An RLock: a
        # finalizer, which the collector runs where it likes, may have something forgotten.
        self._giving = threading.RLock()
        self._queue: deque[Request] = deque()
        self._is_told = False
        # The loop's alone: what was sent, in this order; who connects, reads and writes; the timer.
        self._sent: deque[Request] = deque()
        self._living: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        # uvloop's handle does not say when it is due where that is now.
        self._timer: asyncio.Handle | None = None
        self._rings_seconds = 0.0
        self._heard_seconds = 0.0
        self._is_connected = False
        self._is_silent = False

    def give(self, request: Request, within_seconds: float | None = None) -> None:
        """Have *request* sent, and answered within the time of all or within its own.

        Raises:
            MemoryError: there is none to have it sent just now; it goes with the next one.
        """
        request.due_seconds = self.loop.time() + (within_seconds or self._timeout_seconds)
        with self._giving:
            self._queue.append(request)
            is_told, self._is_told = self._is_told, True
        if is_told:
            return
        try:
            # What follows outlives the request that is the first, so it is not told in its name.
            if asyncio._get_running_loop() is self.loop:
                Context().run(self._look)
            else:
                self.loop.call_soon_threadsafe(self._look_surely, context=Context())
        except MemoryError:
            self._is_told = False
            raise

    async def close(self, within_seconds: float) -> None:
        """Close the connection, when the last answers are there; in the loop."""
        if self._is_connected and self._first() is not None:
            # Its answer comes after all others.
            await until_done([self._ping()], within_seconds)
        if self._living is not None:
            self._end_living(self._living)
            await asyncio.wait([self._living])

    def _look_surely(self) -> None:
        """Look, for those who wait in other threads: none of them could be told that it failed."""
        while True:
            try:
                return self._look()
            except MemoryError:
                time.sleep(NO_MEMORY_SECONDS)

    def _look(self) -> None:
        if self._living is None:
            self._living = self.loop.create_task(self._live())
        elif self._is_connected:
            self._send()
        else:
            with self._giving:
                self._is_told = False
        self._wind()

    async def _live(self) -> None:
        """Connect, and take answers until the connection is lost."""
        error: Exception | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._connection.connect()  # type: ignore[no-untyped-call]
            self._is_connected, self._heard_seconds = True, self.loop.time()
            self._send()
            self._wind()
            await self._read()
        except asyncio.CancelledError:
            if not self._is_silent:
                raise
            error = TimeoutError(f"no answer within {self._timeout_seconds:g} s")
        except TimeoutError:
            error = TimeoutError(f"no connection within {CONNECT_SECONDS:g} s")
        except Exception as failed:  # noqa: BLE001  (of many libraries: DNS, TLS, redis-py)
            error = failed
        finally:
            try:
                await self._connection.disconnect(nowait=True)
            finally:
                self._end(error)

    async def _read(self) -> None:
        from redis.exceptions import ReadOnlyError, ResponseError

        while True:
            refusal: ResponseError | None = None
            answer = None
            try:
                answer = await self._connection.read_response(disable_decoding=True)
            except ResponseError as refused:
                refusal = refused
            self._heard_seconds = self.loop.time()
            if refusal is None:
                self._next_answered().resolve(answer)
                continue
            # Made first: where there is no memory for it, who waits is told with all the others.
            error = StoreError(f"Redis refuses {self._sent[0].name!r}: {refusal}")
            error.__cause__ = refusal
            self._next_answered().reject(error)
            if isinstance(refusal, ReadOnlyError):
                # Another server has taken over: its name may lead there by now.
                raise refusal

    def _next_answered(self) -> Request:
        request = self._sent.popleft()
        self._owner.answered(len(request.packed))
        return request

    def _send(self) -> None:
        """Have what waits written out, unless that is under way."""
        if self._writing is None or self._writing.done():
            self._writing = self.loop.create_task(self._write())

    async def _write(self) -> None:
        try:
            while True:
                packed: list[bytes] = []
                with self._giving:
                    self._is_told = False
                    while self._queue:
                        packed.append(self._queue[0].packed)
                        self._sent.append(self._queue[0])
                        self._queue.popleft()
                if not packed:
                    return
                await self._connection.send_packed_command(packed, check_health=False)
        except Exception:  # noqa: BLE001  (the connection is lost: who reads says why)
            # Or there was no memory: what was not sent has no answer, and others would go astray.
            self._abort()

    def _end(self, error: Exception | None) -> None:
        """Tell everybody that the connection is no more; without an error, since it is closed."""
        self._living, self._is_connected, self._is_silent = None, False, False
        if self._writing is not None:
            # It may not have begun.
            self._writing.cancel()
            self._writing = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if error is not None and self._first() is None:
            # Somebody has to find out whether Redis is away, or only closes what is idle.
            self._ping()
        else:
            self._fail_all(error)

    def _wind(self) -> None:
        """Have the alarm ring when the first command is due, or it is time for a sign of life."""
        first = self._first()
        if first is not None:
            due_seconds = first.due_seconds
        elif self._is_connected:
            due_seconds = self._heard_seconds + self._keep_alive_seconds
        else:
            return
        if self._timer is not None:
            if self._rings_seconds <= due_seconds:
                return
            self._timer.cancel()
        self._ring_at(due_seconds)

    def _ring_at(self, due_seconds: float) -> None:
        self._rings_seconds = due_seconds
        self._timer = self.loop.call_at(due_seconds, self._ring, due_seconds)

    def _ring(self, due_seconds: float) -> None:
        self._timer = None
        now_seconds = self.loop.time()
        first = self._first()
        if first is not None and first.due_seconds <= now_seconds:
            if now_seconds - due_seconds > _LATE_SECONDS:
                self._ring_at(now_seconds + _GRACE_SECONDS)
                return
            self._give_up()
        elif first is None and now_seconds - self._heard_seconds >= self._keep_alive_seconds:
            self._ping()
        self._wind()

    def _ping(self) -> Future[Any]:
        answer: Future[Any] = Future()
        request = Request(("PING",), answer)
        self._owner.asked(len(request.packed))
        self.give(request)
        return answer

    def _give_up(self) -> None:
        """Wait no longer for an answer; nor for a connection, although that may still come."""
        if self._is_connected and self._living is not None:
            self._is_silent = True
            self._end_living(self._living)
        else:
            self._fail_all(TimeoutError(f"not there within {self._timeout_seconds:g} s"))

    def _end_living(self, living: asyncio.Task[None]) -> None:
        if self._first() is not None:
            # Closed only, it would stay with all that is not sent for as long as Redis is silent.
            self._abort()
        living.cancel()

    def _abort(self) -> None:
        writer = self._connection._writer
        if writer is not None:
            writer.transport.abort()

    def _first(self) -> Request | None:
        if self._sent:
            return self._sent[0]
        return self._queue[0] if self._queue else None

    def _fail_all(self, error: Exception | None) -> None:
        """Whoever waits gets an error; if anybody does, the owner hears why, if there is a why."""
        with self._giving:
            requests = (*self._sent, *self._queue)
            self._sent.clear()
            self._queue.clear()
            self._is_told = False
        if not requests:
            return
        if error is not None:
            self._owner.lost(error)
        self._owner.unanswered(len(requests), sum(len(each.packed) for each in requests))
        for request in requests:
            request.reject(RedisAwayError("Redis does not answer; it may have done what was asked"))


async def until_done(answers: Iterable[Future[Any]], within_seconds: float) -> None:
    """Wait until there are these answers, or errors instead, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_seconds):
            await asyncio.gather(*map(asyncio.wrap_future, answers), return_exceptions=True)


def pack(command: Iterable[Argument]) -> bytes:
    """Return *command* as Redis reads it (RESP).

    Raises:
        TypeError: a part of it is of another type, whose text would be nothing that anybody means.
    """
    parts = [each.encode() if isinstance(each, str) else _encode(each) for each in command]
    packed = [b"*%d\r\n" % len(parts)]
    for part in parts:
        packed += (b"$%d\r\n" % len(part), part, b"\r\n")
    return b"".join(packed)


def _encode(part: object) -> bytes:
    if isinstance(part, bytes):
        return part
    # True is an int to Python, and neither 1 nor "True" to everybody.
    if isinstance(part, (int, float)) and not isinstance(part, bool):
        return str(part).encode()
    raise TypeError(
        f"a command takes str, bytes, int and float, not {type(part).__name__}: write it as text"
    )
