"""Callers that wait for room in a buffer, one after another.

Promises: they come out in the order in which they came in, and what each adds in the order in which
it has it; whoever waits is told once, from outside any lock.

Decides nothing about room and has no lock of its own: :class:`~tonnage.stores.writer.buffer.Buffer`
uses it under its own. Not bounded: each is a caller that stands still, with records of its own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tonnage.errors import WriterClosedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    #: Records that go in together, with what they take.
    Parcel = tuple[Sequence[Any], int]
    #: Several of these, in order.
    Parcels = deque[Parcel]


@dataclass(slots=True, eq=False)
class Waiter:
    """A caller that waits for room, with what it adds."""

    parcels: Parcels
    #: Done when the last parcel is in, or is not taken.
    future: Future[None]
    #: How many records were not taken.
    refused: int = 0


class Waiters:
    """The line of those who wait for room; each has one parcel at least."""

    def __init__(self) -> None:
        self._them: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self._them)

    def join(self, waiter: Waiter) -> None:
        """Have *waiter* wait behind the others."""
        self._them.append(waiter)

    def leave(self, waiter: Waiter) -> int:
        """Have *waiter* wait no longer; return how many of its records were left."""
        left = sum(len(records) for records, _ in waiter.parcels)
        waiter.parcels.clear()
        if waiter in self._them:
            self._them.remove(waiter)
        return left

    @property
    def first(self) -> Waiter:
        """Who has waited longest; there has to be one."""
        return self._them[0]

    @property
    def next(self) -> Parcel | None:
        """The parcel whose turn it is; None: nobody waits."""
        return self._them[0].parcels[0] if self._them else None

    def pop(self) -> tuple[Parcel, Waiter | None]:
        """Take that parcel out; with it comes who waits no longer, if it was his last."""
        parcels = self._them[0].parcels
        parcel = parcels.popleft()
        return parcel, None if parcels else self._them.popleft()

    def end(self) -> list[Waiter]:
        """Return all of them; nobody waits any more."""
        them = list(self._them)
        self._them.clear()
        return them


def tell(waiters: Iterable[Waiter]) -> None:
    """Have *waiters* go on: all that they add is in, or refused."""
    for waiter in waiters:
        if waiter.future.set_running_or_notify_cancel():
            waiter.future.set_result(None)


def refuse(waiters: Iterable[Waiter]) -> None:
    """Have *waiters* get :class:`WriterClosedError`."""
    for waiter in waiters:
        if waiter.future.set_running_or_notify_cancel():
            waiter.future.set_exception(WriterClosedError("the writer was closed meanwhile"))
