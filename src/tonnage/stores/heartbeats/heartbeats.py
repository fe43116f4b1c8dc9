"""Who is there: sessions that beat, and that have ended once they are silent.

    heartbeats = Heartbeats(os.environ["DATABASE_URL"], on_end=forget)

    await heartbeats.beat(session_id, player_id=7)        # in a route; beat_sync(...) in a thread

Promises: the database is the truth, so that any number of workers and servers may take beats of the
same sessions and may end them, and none is ended twice for the same silence. In memory there is one
record for each session that has beaten since the last flush, *max_sessions* at most; further beats
bring that record up to date.

When a process is killed, the beats of its last *flush_seconds* are lost: a session that beats again
is as if nothing had been, and one that does not seems to have ended that much earlier. Times are
those of the workers' clocks; these must agree to within a few seconds where there are several
servers. Which statements are run is in :mod:`tonnage.stores.heartbeats.sessions`.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import threading
import time
import weakref
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.stores.background import background, forget_begin, on_begin
from tonnage.stores.heartbeats.sessions import Session, SessionSink, sessions_table
from tonnage.stores.heartbeats.statistics import HeartbeatStatistics
from tonnage.stores.sinks.verdict import reason
from tonnage.stores.writer.batchwriter import BatchWriter
from tonnage.units import parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from sqlalchemy import Engine, Table
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tonnage.stores.sinks.sink import Batch

    Where = str | Engine | AsyncEngine

logger = logging.getLogger("tonnage.stores")

SILENCE_SECONDS: Final = 120.0
SWEEP_SECONDS: Final = 120.0
MOST_A_SWEEP: Final = 100
#: How soon the next sweep follows one that has ended as many as it may.
AGAIN_SECONDS: Final = 1.0
MAX_SESSIONS: Final = 10_000
MAX_BYTES: Final = "8M"
LONGEST_ID: Final = 200
#: What waits longer than this to be stored before a sweep holds it up no longer.
FLUSH_PATIENCE_SECONDS: Final = 10.0


class Heartbeats:
    """Takes beats, stores them, and ends sessions.

    Args:
        where: a URL of SQLite or PostgreSQL as SQLAlchemy has them, or an engine, of either kind.
        table: the name of the table, or a ``Table`` of SQLAlchemy; see :attr:`table`.
        name: what logs and pages call it.
        silence_seconds: how long after its last beat a session has ended.
        sweep_seconds: how often a worker looks for such sessions; the first time that long after
            its start.
        most_a_sweep: how many it ends at a time; if there are more, the next follows a second
            later.
        flush_seconds: how long a beat waits in memory for others at most.
        max_sessions: how many sessions are in memory at most; beats of others are dropped then, and
            counted.
        max_bytes: what these take at most, such as ``"8M"``.
        on_end: is given each :class:`Session` that this process has ended, one after the other: a
            function, called in a thread, or a coroutine function, awaited in the event loop of all
            stores.
        clock: seconds since 1970.

    Raises:
        ConfigError: a bound makes no sense, the database is of another kind, or what is needed is
            not installed.
    """

    _sweeping: Future[None] | None

    #: Makes the table for SQLAlchemy's ``MetaData``: ``Heartbeats.table(metadata, *columns)``.
    table = staticmethod(sessions_table)

    def __init__(
        self,
        where: Where,
        table: str | Table = "sessions",
        *,
        name: str = "heartbeats",
        silence_seconds: float | str = SILENCE_SECONDS,
        sweep_seconds: float | str = SWEEP_SECONDS,
        most_a_sweep: int = MOST_A_SWEEP,
        flush_seconds: float | str = 5,
        max_sessions: int = MAX_SESSIONS,
        max_bytes: int | str = MAX_BYTES,
        on_end: Callable[[Session], Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._silence_seconds = parse_seconds(silence_seconds)
        self._sweep_seconds = parse_seconds(sweep_seconds)
        self._most_a_sweep = most_a_sweep
        if most_a_sweep < 1 or self._sweep_seconds <= 0:
            raise ConfigError(f"{name}: a sweep ends one session at least, and comes after a while")
        if self._silence_seconds <= parse_seconds(flush_seconds):
            raise ConfigError(
                f"{name}: a silence has to be longer than flush_seconds ({flush_seconds}), or who"
                " beats would seem silent"
            )
        self._on_end = on_end
        self._clock = clock
        self._sink = _Sink(self, where, table)
        self.writer = BatchWriter(
            name,
            self._sink,
            max_records=max_sessions,
            max_bytes=max_bytes,
            flush_seconds=flush_seconds,
        )
        self._begin()
        _living.add(self)
        # Sessions of before are ended by workers that no beat reaches, too.
        on_begin(self.start)

    # Beats.

    async def beat(self, session_id: str, **columns: Any) -> bool:
        """Note that a session is there; does not wait for anything.

        Args:
            session_id: up to :data:`LONGEST_ID` characters.
            columns: values for further columns of its row, kept until a beat brings others.

        Returns:
            Whether it will be stored; if not, there is no room for it, and it is counted.

        Raises:
            ValueError: the id is empty or too long.
            WriterClosedError: the process ends.
        """
        return self.beat_sync(session_id, **columns)

    def beat_sync(self, session_id: str, **columns: Any) -> bool:
        """As :meth:`beat`, from any thread."""
        if not 0 < len(session_id) <= LONGEST_ID:
            raise ValueError(f"a session's id has 1 to {LONGEST_ID} characters")
        if self._pid != os.getpid():
            self._begin()
        if self._sweeping is None:
            self.start()
        now = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)
        with self._lock:
            self._beats += 1
            waiting = self._waiting.get(session_id)
            if waiting is not None:
                # What is ours stays ours, whatever columns there are.
                ours = {"id": session_id, "started_at": waiting["started_at"], "last_beat_at": now}
                waiting.update({**columns, **ours})
                return True
            record = {**columns, "id": session_id, "started_at": now, "last_beat_at": now}
            if not self.writer.put(record):
                return False
            self._waiting[session_id] = record
            return True

    # Ends.

    def start(self) -> None:
        """Begin to look for silent sessions; in a worker, not at import.

        Not needed under ``tonnage run``, nor where this process takes beats.
        """
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            if self._sweeping is None:
                self._sweeping = background().start(self._sweep_for_ever())
                background().on_close(self._stop)

    async def sweep(self) -> int:
        """End sessions that are silent, as many as one sweep may; return how many.

        Not needed in workers, which do so by themselves every ``sweep_seconds``.

        Raises:
            Exception: what the database has raised.
        """
        return await background().run(self._sweep())

    async def close(self) -> None:
        """Store what waits, and let go of the database; not needed when the process ends."""
        if self._pid != os.getpid():
            self._begin()
        await self._stop()
        background().forget(self._stop)
        forget_begin(self.start)
        await self.writer.close()

    def statistics(self) -> HeartbeatStatistics:
        """Return what has become of beats and sessions so far, in this process."""
        return HeartbeatStatistics(
            name=self.name,
            beats=self._beats,
            waiting=len(self._waiting),
            ended=self._ended,
            sweeps=self._sweeps,
            writer=self.writer.statistics(),
        )

    # Inside.

    def _begin(self) -> None:
        """Begin with nothing: a forked process has none of its parent's sessions and tasks."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        # By session, what the writer holds and the sink has not begun to store; so as many at most.
        self._waiting: dict[str, dict[str, Any]] = {}
        self._sweeping = None
        self._beats = self._ended = self._sweeps = 0
        self._failed_seconds = float("-inf")

    async def _stop(self) -> None:
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            sweeping.cancel()

    async def _sweep_for_ever(self) -> None:
        pause_seconds = self._sweep_seconds
        while True:
            await asyncio.sleep(pause_seconds)
            pause_seconds = self._sweep_seconds
            try:
                if await self._sweep() == self._most_a_sweep:
                    pause_seconds = min(AGAIN_SECONDS, self._sweep_seconds)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next sweep may do
                logger.warning("%s: no sessions are ended now: %s", self.name, reason(error))

    async def _sweep(self) -> int:
        # Beats that wait here must not find their sessions ended.
        async with asyncio.timeout(FLUSH_PATIENCE_SECONDS):
            await self.writer.flush()
        now_seconds = self._clock()
        # When the database was away, others may still have to store what they hold.
        if now_seconds - self._failed_seconds < self._silence_seconds:
            return 0
        since = datetime.datetime.fromtimestamp(now_seconds - self._silence_seconds, datetime.UTC)
        ended = await self._sink.end_silent(since, self._most_a_sweep)
        self._sweeps += 1
        self._ended += len(ended)
        if self._on_end is not None:
            for session in ended:
                await self._tell(self._on_end, session)
        return len(ended)

    async def _tell(self, on_end: Callable[[Session], Any], session: Session) -> None:
        try:
            if iscoroutinefunction(on_end):
                await on_end(session)
            else:
                await asyncio.to_thread(on_end, session)
        except Exception:
            logger.exception("%s: on_end has failed", self.name)

    def _take(self, batch: Batch) -> None:
        """Leave the records of *batch* as they are: from now on, their sessions get new ones."""
        with self._lock:
            for record in batch.records:
                if self._waiting.get(record["id"]) is record:
                    del self._waiting[record["id"]]

    def _fail(self) -> None:
        self._failed_seconds = self._clock()


class _Sink(SessionSink):
    """A sink that tells whom it stores for."""

    def __init__(self, owner: Heartbeats, where: Where, table: str | Table) -> None:
        super().__init__(where, table, upsert=["id"])
        self._owner = owner

    async def write(self, batch: Batch) -> None:
        """Store a beat of each session of *batch*."""
        self._owner._take(batch)
        try:
            await super().write(batch)
        except RecordsRejectedError:
            raise
        except BaseException:
            self._owner._fail()
            raise


def living() -> list[Heartbeats]:
    """Return those of this process."""
    return list(_living)


# All of this process, held weakly.
_living: weakref.WeakSet[Heartbeats] = weakref.WeakSet()
