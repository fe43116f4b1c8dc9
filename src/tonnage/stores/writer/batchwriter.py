"""Records that come one by one and are stored many at a time, within a bound of memory.

    writer = BatchWriter("events", sink)

    await writer.add({"kind": "click", "at": now})      # in a route; writer.put(...) in a thread

Promises: holds no more records and no more bytes than its bounds, whatever the sink does; every
record that was offered is stored, set aside, on disk, in memory, or counted as dropped
(:meth:`BatchWriter.statistics`). Making one starts no thread and opens nothing, so that it can
stand where the application is imported; a forked process begins with an empty one. What is there
when a process ends in an orderly way is flushed within the server's deadline.

What is in memory when a process is killed is lost, unless ``durable=True``. This module is the
door; how it goes on is in :mod:`tonnage.stores.writer.memory`,
:mod:`tonnage.stores.writer.durable` and :mod:`tonnage.stores.writer.delivery`.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tonnage.governor.consumers import DEFAULT_PRIORITY, register
from tonnage.stores.background import on_begin
from tonnage.stores.writer.delivery import WRITE_SECONDS, Delivery
from tonnage.stores.writer.memory import MemoryWriter
from tonnage.stores.writer.options import checked
from tonnage.stores.writer.pump import CLOSE_SECONDS
from tonnage.stores.writer.rejected import Rejected

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable
    from types import TracebackType

    from tonnage.governor.consumers import Registration
    from tonnage.stores.sinks.sink import Sink
    from tonnage.stores.statistics import WriterStatistics
    from tonnage.stores.writer.durable import DurableWriter
    from tonnage.stores.writer.options import Overflow
    from tonnage.stores.writer.rejected import RejectedRecord

DEFAULT_RECORDS: Final = 1000
DEFAULT_BYTES: Final = "1M"
DEFAULT_SPOOL_BYTES: Final = "256M"


class BatchWriter:
    """Takes records from any thread and any event loop, and has a sink store them.

    Args:
        name: what logs and pages call it.
        sink: what stores them, such as those of :mod:`tonnage.sinks`; or anything that has
            ``async write(batch)`` and ``async close()``.
        max_records: how many records it holds in memory at most, those on their way included.
        max_bytes: what these take at most, such as ``"1M"``. Flat records count within 10 %.
        flush_seconds: how long a record waits for others at most. They are stored as soon as half
            of either bound is reached, so that there is room for more meanwhile.
        overflow: what becomes of records for which there is no room: ``"drop"``, counted and
            logged; ``"wait"``, whoever adds waits, in order; ``"spool"``, they go to disk, and are
            stored from there when the sink keeps up again.
        durable: whether :meth:`add` returns only when the record is on disk.
        write_seconds: how long one write of the sink may take until it is cancelled and repeated.
        rejected_file: a file to which records are appended that the sink rejects, a line of JSON
            each; with the one before it takes 16 MB at most.
        spool_dir: where records are kept on disk; by default as the option ``spool_dir`` says.
        spool_bytes: what they take there at most.
        priority: writers of lower numbers are asked first to give memory back.

    Raises:
        ConfigError: a bound makes no sense, or tenacity is not installed.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        *,
        max_records: int = DEFAULT_RECORDS,
        max_bytes: int | str = DEFAULT_BYTES,
        flush_seconds: float | str = 5,
        overflow: Overflow = "drop",
        durable: bool = False,
        write_seconds: float | str = WRITE_SECONDS,
        rejected_file: Path | str | None = None,
        spool_dir: Path | str | None = None,
        spool_bytes: int | str = DEFAULT_SPOOL_BYTES,
        priority: int = DEFAULT_PRIORITY,
    ) -> None:
        self.name = name
        self._sink = sink
        self._options = checked(
            name,
            max_records=max_records,
            max_bytes=max_bytes,
            flush_seconds=flush_seconds,
            overflow=overflow,
            durable=durable,
            write_seconds=write_seconds,
            rejected_file=None if rejected_file is None else Path(rejected_file),
            spool_dir=None if spool_dir is None else Path(spool_dir),
            spool_bytes=spool_bytes,
        )
        self._priority = priority
        self._registration: Registration | None = None
        self._begin()
        _living.add(self)
        # The writer, which outlives a fork, and not what it then has anew.
        on_begin(self._begin_serving)

    # Adding.

    def add(self, record: Any) -> Coroutine[Any, Any, bool]:
        """Take *record*; await it, in any event loop.

        If the call is cancelled, records not yet taken are not stored.

        Args:
            record: a mapping, a dataclass, a ``msgspec.Struct``, a pydantic model or a named tuple.
                It is not copied: do not change it any more.

        Returns:
            Whether it was taken. If not it is dropped and counted: there is no room for it, or it
            is larger than the whole buffer.

        Raises:
            TypeError: it is no record.
            WriterClosedError: the writer is closed.
            WriterFullError: the disk has no room for it (durable writers).
            SpoolError: the disk does not take it (durable writers).
        """
        return self._engine.add(record)

    def add_many(self, records: Iterable[Any]) -> Coroutine[Any, Any, int]:
        """Take *records*, in order; await it. As :meth:`add` for each, in less time.

        Returns:
            How many were taken.
        """
        return self._engine.add_many(records)

    def put(self, record: Any, timeout_seconds: float | None = None) -> bool:
        """As :meth:`add`, from a thread: a route that is no coroutine, or WSGI.

        Args:
            record: see :meth:`add`.
            timeout_seconds: how long to wait for room, where there is waiting; None: for ever.
                What was not taken by then is dropped and counted.
        """
        return self._engine.put(record, timeout_seconds)

    def put_many(self, records: Iterable[Any], timeout_seconds: float | None = None) -> int:
        """As :meth:`add_many`, from a thread."""
        return self._engine.put_many(records, timeout_seconds)

    # Storing.

    async def flush(self) -> None:
        """Have all records stored that were added until now; wait until they are, or are set aside.

        If the sink is failing, this waits until it works again.
        """
        await self._engine.flush()

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Store what is there, close the sink, and take no more records.

        Not needed when the process ends: the server does it, else Python. Whoever closes it while
        it is being closed waits for that; if one such call is cancelled, its time is up.

        Args:
            seconds: how long that may take; the first call's count. What is left then goes to the
                spool if there is one, else it is dropped, counted and logged.
        """
        await self._engine.close(seconds)
        self._unregister()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # Looking.

    def statistics(self) -> WriterStatistics:
        """Return what has become of all records so far, in this process.

        A record that is just on its way from one place to another may count at both.
        """
        return self._engine.statistics()

    def rejected(self) -> list[RejectedRecord]:
        """Return the last records that the sink has rejected: at most 100, and 256 KB of them."""
        return self._rejected.records()

    # As a consumer of memory.

    @property
    def used_bytes(self) -> int:
        """What its records take in memory."""
        return self._engine.used_bytes

    def shrink(self, target_bytes: int) -> int:
        """Have what waits stored or spooled soon; return 0, as nothing comes free at once."""
        return self._engine.shrink(target_bytes)

    # Inside.

    def _begin(self) -> None:
        """Begin empty."""
        options = self._options
        self._rejected = Rejected(options.name, options.rejected_file)
        delivery = Delivery(
            options.name,
            self._sink,
            rejected=self._rejected,
            write_seconds=options.write_seconds,
        )
        self._engine = self._engine_for(delivery)
        # The engine, since it lives until all is stored, whoever has kept the writer.
        self._unregister()
        self._registration = register(self._engine, self._priority)
        if type(self).add is BatchWriter.add:
            # Called most, so without the step between.
            self.add = self._engine.add  # type: ignore[method-assign]

    def _begin_serving(self) -> None:
        self._engine.begin()

    def _unregister(self) -> None:
        registration, self._registration = self._registration, None
        if registration is not None:
            registration.close()

    def _engine_for(self, delivery: Delivery) -> MemoryWriter | DurableWriter:
        options = self._options
        if not options.durable and options.overflow != "spool":
            return MemoryWriter(options, delivery)
        # Only here: most writers need no disk.
        from tonnage.stores.writer.spool import Spool

        spool = Spool(
            options.name,
            directory=options.spool_dir,
            max_bytes=options.spool_bytes,
            waits=options.durable and options.overflow == "wait",
        )
        if not options.durable:
            return MemoryWriter(options, delivery, spool)
        from tonnage.stores.writer.durable import DurableWriter

        return DurableWriter(options, delivery, spool)


def living() -> list[BatchWriter]:
    """Return the writers of this process."""
    return list(_living)


# All writers of this process, held weakly.
_living: weakref.WeakSet[BatchWriter] = weakref.WeakSet()


def _after_fork() -> None:
    # What they hold is the parent's, which stores it.
    for writer in living():
        writer._begin()


os.register_at_fork(after_in_child=_after_fork)
