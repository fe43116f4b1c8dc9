"""The door of a spool: records become bytes, join a group, and wait until that is on the disk.

Promises: whoever is told that there is no room, or gives up in time, has added nothing; what fits
into one parcel is added all or none. Safe from any thread and any event loop; the disk is worked
with in another thread. Bounded by :class:`~tonnage.stores.writer.spool.groups.Groups`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from tonnage.errors import RecordsRejectedError, StoreError, WriterFullError
from tonnage.stores.writer.spool import frames
from tonnage.stores.writer.spool.groups import Group, Groups, Parcel
from tonnage.stores.writer.spool.payload import encode
from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Intake:
    """Where records come in.

    Args:
        name: the writer's.
        groups: in which they wait for the disk.
        parcel_bytes: what one record takes at most, and what is added all or none.
    """

    def __init__(self, name: str, groups: Groups, parcel_bytes: int) -> None:
        self._name = name
        self._groups = groups
        self._parcel_bytes = parcel_bytes

    async def add(self, records: Sequence[Mapping[str, Any]], *, one_by_one: bool = False) -> None:
        """Return when *records* are on the disk.

        Where parcels go *one_by_one*, none that follows one that failed is tried.

        Raises:
            StoreError: as :meth:`Spool.add` has it.
        """
        joined: list[tuple[Group, Parcel]] = []
        try:
            for parcel in self._parcels(records):
                while (group := self._groups.join(parcel)) is None:
                    if (first := self._groups.first()) is not None:
                        await first.wait()
                joined.append((group, parcel))
                if one_by_one:
                    _raise(await group.wait())
            # All of them, before an error is told: what was added is known then.
            for error in [await group.wait() for group, _ in joined]:
                _raise(error)
        except asyncio.CancelledError:
            self._leave(joined)
            raise

    def put(self, records: Sequence[Mapping[str, Any]], timeout_seconds: float | None) -> None:
        """Return when *records* are on the disk; for threads.

        Raises:
            StoreError: as :meth:`Spool.put` has it.
        """
        until = None
        # No thread can wait for longer than that; infinity is for ever.
        if timeout_seconds is not None and timeout_seconds < threading.TIMEOUT_MAX:
            until = time.monotonic() + timeout_seconds
        joined: list[tuple[Group, Parcel]] = []
        try:
            for parcel in self._parcels(records):
                while (group := self._groups.join(parcel)) is None:
                    if (first := self._groups.first()) is not None:
                        first.over.result(_left(until))
                joined.append((group, parcel))
            for group, _ in joined:
                _raise(group.over.result(_left(until)))
        except TimeoutError:
            self._leave(joined)
            raise WriterFullError(
                f"writer {self._name!r} had no room on the disk for a record in time"
            ) from None

    def _parcels(self, records: Sequence[Mapping[str, Any]]) -> list[Parcel]:
        parcels: list[Parcel] = []
        for record in records:
            payload = encode(record)
            cost = len(payload) + frames.FRAME_BYTES
            if cost > self._parcel_bytes:
                raise RecordsRejectedError(
                    f"a record of {format_bytes(len(payload))} is too large for the spool of writer"
                    f" {self._name!r}: it takes {format_bytes(self._parcel_bytes)} at most, which"
                    " grows with spool_bytes"
                )
            if not parcels or parcels[-1].size_bytes + cost > self._parcel_bytes:
                parcels.append(Parcel([], 0))
            parcels[-1].payloads.append(payload)
            parcels[-1].size_bytes += cost
        return parcels

    def _leave(self, joined: Sequence[tuple[Group, Parcel]]) -> None:
        for group, parcel in joined:
            self._groups.leave(group, parcel)


def _raise(error: StoreError | None) -> None:
    if error is not None:
        # A new one for each who waits, since each adds where it was met.
        raise type(error)(*error.args)


def _left(until_seconds: float | None) -> float | None:
    return None if until_seconds is None else max(0.0, until_seconds - time.monotonic())
