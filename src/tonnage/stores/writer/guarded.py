"""A sink that may do whatever it likes: raise anything, hang, or not let itself be cancelled.

    guarded = GuardedSink(sink, write_seconds=30)
    await guarded.write(batch)

Promises: a write has ended, or has failed, after its deadline, also where the sink swallows its
cancellation; what it raises comes out as an :class:`Exception`, also a cancellation of its own and
what would end the process (``SystemExit``), for other writers use the same event loop. The sink has
one call at a time: while one that was cancelled does not end, no other begins.

Cannot help against a sink that blocks the loop, as ``time.sleep`` does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tonnage.errors import StoreError
from tonnage.stores.writer.notices import told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tonnage.stores.sinks.sink import Batch, Sink


class GuardedSink:
    """What stands around a sink; used in one event loop, by one task.

    Args:
        sink: what stores records.
        write_seconds: how long one write may take.
    """

    def __init__(self, sink: Sink, write_seconds: float) -> None:
        self._sink = sink
        self._write_seconds = write_seconds
        # The call that has not ended, as far as is known.
        self._call: asyncio.Task[BaseException | None] | None = None

    async def write(self, batch: Batch) -> None:
        """Return when *batch* is stored.

        Cancelled, it leaves at once, and the sink's call is cancelled.

        Raises:
            TimeoutError: it took too long; whether it is stored is not known.
            StoreError: the sink has raised what is no :class:`Exception`.
            Exception: whatever else the sink raises.
        """
        await self._let_it_end(
            self._write_seconds, "the write before was cancelled and has not ended for"
        )
        await self._ask(lambda: self._sink.write(batch), self._write_seconds)

    async def close(self, seconds: float) -> None:
        """Close the sink.

        Raises:
            TimeoutError: that took longer than *seconds*.
            Exception: as for :meth:`write`.
        """
        half = seconds / 2
        try:
            await self._let_it_end(half, "a write has not ended for")
        finally:
            # Also then: without its connection a write that hangs may end.
            await self._ask(self._sink.close, half)

    async def _let_it_end(self, seconds: float, what: str) -> None:
        if self._call is not None and not await self._is_over(self._call, seconds):
            raise TimeoutError(f"{what} {seconds:.3g} s")

    async def _ask(self, function: Callable[[], Awaitable[None]], seconds: float) -> None:
        self._call = asyncio.create_task(_outcome(function))
        if not await self._is_over(self._call, seconds):
            raise TimeoutError(f"no answer within {seconds:.3g} s")
        error = self._call.result()
        self._call = None
        if error is None:
            return
        try:
            if isinstance(error, Exception):
                raise error
            raise StoreError(f"the sink has raised {told(error)}") from error
        finally:
            # Else the error would hold this frame, and with it the batch.
            del error

    async def _is_over(self, call: asyncio.Task[BaseException | None], seconds: float) -> bool:
        """Return whether *call* has ended within *seconds*; else it is cancelled."""
        try:
            await asyncio.wait([call], timeout=seconds)
        finally:
            # Nothing happens if it has ended.
            call.cancel()
        return call.done()


async def _outcome(function: Callable[[], Awaitable[None]]) -> BaseException | None:
    """Return what *function* raises: raised here, some would end the event loop."""
    try:
        await function()
    except BaseException as error:  # noqa: BLE001 - also a cancellation: it is told to nobody else
        return error
    return None
