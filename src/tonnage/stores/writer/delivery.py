"""Batches into a sink, until each record is stored or set aside.

    delivery = Delivery("events", sink, rejected=Rejected("events"))
    await delivery.deliver(batch)

Promises: returns only then; whatever the sink raises, and however long it is away. What fails is
tried again, for ever, after a pause that doubles up to :data:`LONGEST_PAUSE_SECONDS` and is
shortened at random, so that many processes do not come back at once. A write that takes longer than
its deadline is cancelled, and has failed. When the sink rejects a batch, or stumbles over it as a
mistake in a program does (:mod:`tonnage.stores.writer.patience`), the halves of it are tried one
after the other, in order, until the records at fault are alone; these are set aside. What the log
says of all this is :mod:`tonnage.stores.writer.outage`'s.

Holds one batch at a time, and knows nothing of buffers and disks. Pauses are tenacity's (the extra
``writers``), which is loaded when something fails for the first time.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.stores.sinks.sink import Batch
from tonnage.stores.writer.guarded import GuardedSink
from tonnage.stores.writer.notices import logger, told
from tonnage.stores.writer.outage import Outage
from tonnage.stores.writer.patience import Patience
from tonnage.stores.writer.records import to_mapping, to_mappings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tonnage.stores.sinks.sink import Sink
    from tonnage.stores.writer.rejected import Rejected

WRITE_SECONDS: Final = 30.0
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 10.0
#: How long a sink has to let go of what it holds.
CLOSE_SECONDS: Final = 2.0


class Delivery:
    """What stands between a writer and its sink.

    Args:
        name: the writer's.
        sink: where records go.
        rejected: where those go that it rejects.
        write_seconds: how long one write may take.
        clock: monotonic seconds.
        sleep: waits for so many seconds.

    Raises:
        ConfigError: *sink* is none, or tenacity is not installed.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        *,
        rejected: Rejected,
        write_seconds: float = WRITE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if isinstance(sink, type) or not all(
            callable(getattr(sink, method, None)) for method in ("write", "close")
        ):
            raise ConfigError(
                f"writer {name!r}: {sink!r} is no sink: give it one of tonnage.sinks, or an object"
                " that has async write(batch) and async close()"
            )
        if not _has_tenacity():
            raise ConfigError(
                f"writer {name!r} needs tenacity for trying again: pip install 'tonnage[writers]'"
            )
        #: Records that the sink has stored.
        self.total_flushed = 0
        #: Parts of the batch in hand that are neither stored nor set aside, the oldest first.
        self.left: list[Batch] = []
        self._name = name
        self._sink = GuardedSink(sink, write_seconds)
        self._rejected = rejected
        self._sleep = sleep
        self._outage = Outage(name, clock)
        self._patience = Patience()

    @property
    def total_failed(self) -> int:
        """Records that were set aside."""
        return self._rejected.total

    @property
    def is_failing(self) -> bool:
        """Whether the last write failed, other than by rejecting records."""
        return self._outage.is_on

    async def deliver(self, batch: Batch) -> None:
        """Return when each record of *batch* is stored or set aside.

        Cancelled, it leaves what is neither in :attr:`left`.
        """
        self.left = [batch]
        self._patience.begin()
        while self.left:
            part = self.left[0]
            error = await self._write(part)
            if error is None:
                self.total_flushed += len(part)
            elif len(part) > 1:
                half = len(part) // 2
                self.left[:1] = [part.part(0, half), part.part(half, len(part))]
                continue
            else:
                self.set_aside(part.records[0], part.ids[0] if part.ids else None, error)
            del self.left[0]

    def batch_of(self, records: Sequence[Any]) -> Batch:
        """Return *records* as mappings; those that cannot become one are set aside."""
        try:
            return Batch(to_mappings(records))
        except Exception:  # noqa: BLE001 - a model's own code may raise anything
            return Batch(self._one_by_one(records))

    def set_aside(self, record: Mapping[str, Any], record_id: str | None, error: Exception) -> None:
        """Keep *record* apart, which can never be stored, for the reason *error*."""
        self._rejected.set_aside(record, record_id, error)

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Close the sink within *seconds*; nothing may be delivered any more."""
        self._rejected.settle()
        try:
            await self._sink.close(seconds)
        except Exception as error:  # noqa: BLE001 - a sink may raise anything
            logger.warning("writer %s: the sink could not be closed: %s", self._name, told(error))

    def _one_by_one(self, records: Sequence[Any]) -> list[Mapping[str, Any]]:
        mappings = []
        for record in records:
            try:
                mappings.append(to_mapping(record))
            except Exception as error:  # noqa: BLE001 - a model's own code may raise anything
                self.set_aside({"kind": type(record).__qualname__}, None, error)
        return mappings

    async def _write(self, batch: Batch) -> Exception | None:
        """Return when *batch* is stored, or why a record in it never can be."""
        try:
            return await self._try(batch)
        except Exception:  # noqa: BLE001 - a sink may raise anything
            # The second time at once: a connection that was cut is made anew.
            return await self._keep_trying(batch)

    async def _keep_trying(self, batch: Batch) -> Exception | None:
        import tenacity

        attempts = tenacity.AsyncRetrying(
            wait=tenacity.wait_random_exponential(
                multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS
            ),
            sleep=self._sleep,
        )
        return await attempts(self._try, batch)

    async def _try(self, batch: Batch) -> Exception | None:
        """As :meth:`_write`, once.

        Raises:
            Exception: it is worth trying again.
        """
        try:
            await self._sink.write(batch)
        except RecordsRejectedError as error:
            self._outage.ended()
            return error
        except Exception as error:
            if self._patience.is_over(error, len(batch)):
                self._outage.given_up(self._patience.tries)
                return error
            self._outage.failed(error)
            raise
        self._outage.ended()
        self._patience.stored(len(batch))
        return None


@cache
def _has_tenacity() -> bool:
    # Asked when a writer is made: when the sink is away is no time to find out.
    return importlib.util.find_spec("tenacity") is not None
