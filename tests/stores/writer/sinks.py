"""Sinks that keep what they get, stand still, or fail, as they are told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tonnage.errors import RecordsRejectedError
from tonnage.stores.sinks.sink import Batch


class Kept:
    """A sink that keeps all records, in order."""

    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []
        #: How large the batches were that were stored, and how often it was asked at all.
        self.batches: list[int] = []
        self.asked = 0
        self.closed = 0
        #: Raised once each, the first one first, instead of storing.
        self.errors: list[BaseException] = []
        #: Whether a record is at fault.
        self.rejects: Callable[[Mapping[str, Any]], bool] = lambda record: False
        #: While cleared, nothing returns.
        self._is_open = threading.Event()
        self._is_open.set()

    def shut(self) -> None:
        """Have every write stand still."""
        self._is_open.clear()

    def open(self) -> None:
        """Have them go on."""
        self._is_open.set()

    async def write(self, batch: Batch) -> None:
        """Store all of it, or nothing."""
        self.asked += 1
        while not self._is_open.is_set():  # noqa: ASYNC110 - set in another thread
            await asyncio.sleep(0.001)
        if self.errors:
            raise self.errors.pop(0)
        if any(map(self.rejects, batch.records)):
            raise RecordsRejectedError("n is odd")
        self.records += batch.records
        self.batches.append(len(batch))

    async def close(self) -> None:
        """Count it."""
        self.closed += 1

    @property
    def numbers(self) -> list[Any]:
        """What each record has as ``n``."""
        return [record["n"] for record in self.records]


def numbered(begin: int, end: int) -> list[dict[str, Any]]:
    """Return records with ``n`` from *begin* to before *end*."""
    return [{"n": n} for n in range(begin, end)]
