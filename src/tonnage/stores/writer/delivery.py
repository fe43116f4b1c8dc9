"""Batches into a sink, until each record is stored or set aside.

    delivery = Delivery("events", sink, rejected=Rejected("events"))
    await delivery.deliver(batch)

Promises: returns only then; whatever the sink raises, and however long it is away. What fails is
tried again, for ever, after a pause that doubles up to :data:`LONGEST_PAUSE_SECONDS` and is
shortened at random, so that many processes do not come back at once. A write that takes longer than
its deadline is cancelled, and has failed. When the sink rejects a batch, the halves of it are tried
one after the other, in order, until the records at fault are alone; these are set aside. The log
says once when the sink began to fail, and once when it takes records again.

Holds one batch at a time, and knows nothing of buffers and disks. Pauses are tenacity's (the extra
``writers``), which is loaded when something fails for the first time.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError, RecordsRejectedError
from tonnage.stores.writer.notices import told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tonnage.stores.sinks.sink import Batch, Sink
    from tonnage.stores.writer.rejected import Rejected

logger = logging.getLogger("tonnage.stores")

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
        ConfigError: tenacity is not installed.
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
        if not _has_tenacity():
            raise ConfigError(
                f"writer {name!r} needs tenacity for trying again: pip install 'tonnage[writers]'"
            )
        #: Records that the sink has stored.
        self.total_flushed = 0
        #: Parts of the batch in hand that are neither stored nor set aside, the oldest first.
        self.left: list[Batch] = []
        self._name = name
        self._sink = sink
        self._rejected = rejected
        self._write_seconds = write_seconds
        self._clock = clock
        self._sleep = sleep
        self._failing_since_seconds: float | None = None

    @property
    def total_failed(self) -> int:
        """Records that were set aside."""
        return self._rejected.total

    @property
    def is_failing(self) -> bool:
        """Whether the last write failed, other than by rejecting records."""
        return self._failing_since_seconds is not None

    async def deliver(self, batch: Batch) -> None:
        """Return when each record of *batch* is stored or set aside.

        Cancelled, it leaves what is neither in :attr:`left`.
        """
        self.left = [batch]
        while self.left:
            part = self.left[0]
            try:
                await self._write(part)
            except RecordsRejectedError as error:
                self._is_well()
                if len(part) > 1:
                    half = len(part) // 2
                    self.left[:1] = [part.part(0, half), part.part(half, len(part))]
                    continue
                self.set_aside(part.records[0], part.ids[0] if part.ids else None, error)
            else:
                self.total_flushed += len(part)
            del self.left[0]
        self._rejected.settle_if_due()

    def set_aside(self, record: Mapping[str, Any], record_id: str | None, error: Exception) -> None:
        """Keep *record* apart, which can never be stored, for the reason *error*."""
        self._rejected.set_aside(record, record_id, error)

    async def close(self) -> None:
        """Close the sink; nothing may be delivered any more."""
        self._rejected.settle()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._sink.close()
        except Exception as error:  # noqa: BLE001 - a sink may raise anything
            logger.warning("writer %s: the sink could not be closed: %s", self._name, told(error))

    async def _write(self, batch: Batch) -> None:
        """Return when *batch* is stored.

        Raises:
            RecordsRejectedError: it cannot be.
        """
        try:
            await self._write_once(batch)
        except RecordsRejectedError:
            raise
        except Exception as error:  # noqa: BLE001 - a sink may raise anything
            self._has_failed(error)
            # The second time at once: a connection that was cut is made anew.
            await self._keep_trying(batch)

    async def _write_once(self, batch: Batch) -> None:
        async with asyncio.timeout(self._write_seconds):
            await self._sink.write(batch)
        self._is_well()

    async def _keep_trying(self, batch: Batch) -> None:
        import tenacity

        attempts = tenacity.AsyncRetrying(
            wait=tenacity.wait_random_exponential(
                multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS
            ),
            retry=tenacity.retry_if_exception(_is_of_the_moment),
            sleep=self._sleep,
            reraise=True,
        )
        await attempts(self._write_once, batch)

    def _has_failed(self, error: Exception) -> None:
        if self._failing_since_seconds is None:
            self._failing_since_seconds = self._clock()
            logger.warning(
                "writer %s: the sink does not take records, trying again: %s",
                self._name,
                self._why(error),
            )

    def _why(self, error: Exception) -> str:
        if isinstance(error, TimeoutError) and not str(error):
            return f"no answer within {self._write_seconds:g} s"
        return told(error)

    def _is_well(self) -> None:
        if self._failing_since_seconds is not None:
            seconds = self._clock() - self._failing_since_seconds
            self._failing_since_seconds = None
            logger.warning(
                "writer %s: the sink takes records again, after %.1f s", self._name, seconds
            )


@cache
def _has_tenacity() -> bool:
    # Asked when a writer is made: when the sink is away is no time to find out.
    return importlib.util.find_spec("tenacity") is not None


def _is_of_the_moment(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, RecordsRejectedError)
