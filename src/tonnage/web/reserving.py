"""Who grants memory to code that runs already: a worker's side of ``reserved(size)``.

Promises: what is granted is in the ledger before the code goes on, so that no other request, in no
worker, is let in with it. Whoever does not fit waits :data:`WAIT_SECONDS` at most and is refused:
waiting is not free here, since it goes on holding what it has read, and its connection.

What a request was expected to take anyway is in the ledger already, and is not counted twice.
Does not know what the memory is for. The rules are those of the desk
(:mod:`tonnage.governor.admission`), whose thread is the event loop's: other threads are led there.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError as NeverMind
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.errors import MemoryShortError
from tonnage.governor.costs import Expectation
from tonnage.web.meter import current_request
from tonnage.web.refusal import too_short

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.governor.admission import Desk
    from tonnage.governor.reservations import reserved
    from tonnage.web.meter import Meter

#: How long running code waits for memory.
WAIT_SECONDS: Final = 2.0
#: How often it is looked whether some came free.
RETRY_SECONDS: Final = 0.005
# How much longer a thread waits for an event loop that does not answer.
_PATIENCE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Aside:
    """Bytes that somebody is about to take."""

    size_bytes: float

    @property
    def granted_bytes(self) -> float:
        """All of it."""
        return self.size_bytes

    def remaining(self, room_bytes: int) -> Expectation:
        """Return all of it: it is given back when it was taken."""
        return Expectation(self.size_bytes, 0.0, self.size_bytes)

    def taken_bytes(self) -> float:
        """Return nothing, as nobody measures it."""
        return 0.0


class Reserving:
    """The :class:`~tonnage.governor.reservations.Reserver` of one worker.

    To be made in its event loop. *look* is called when something was given back.
    """

    def __init__(self, desk: Desk, meter: Meter, look: Callable[[], object]) -> None:
        self._desk = desk
        self._meter = meter
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        # Bounded by what runs: one for each piece of code inside a reservation.
        self._held: dict[reserved, Aside] = {}

    async def enter(self, wanted: reserved) -> None:
        """Wait until *wanted* fits, and keep it.

        Raises:
            MemoryShortError: it did not fit in time.
        """
        if threading.get_ident() != self._thread:
            # The loop of another thread, as that of the stores: it must not be held up.
            asked = asyncio.run_coroutine_threadsafe(self._enter(wanted), self._loop)
            try:
                await asyncio.wrap_future(asked)
            except asyncio.CancelledError:
                self.leave(wanted)
                raise
        else:
            await self._enter(wanted)

    def enter_in_thread(self, wanted: reserved) -> None:
        """Do the same where nothing can be awaited; in the event loop's own thread, at once.

        Raises:
            MemoryShortError: it did not fit in time, or not now.
        """
        if threading.get_ident() == self._thread:
            if not self._try(wanted):
                raise MemoryShortError(too_short(wanted.size_bytes, 0.0))
            return
        asked = asyncio.run_coroutine_threadsafe(self._enter(wanted), self._loop)
        try:
            asked.result(WAIT_SECONDS + _PATIENCE_SECONDS)
        except (TimeoutError, NeverMind):
            asked.cancel()
            self.leave(wanted)
            raise MemoryShortError(too_short(wanted.size_bytes, WAIT_SECONDS)) from None

    def leave(self, wanted: reserved) -> None:
        """Keep it no longer."""
        if threading.get_ident() == self._thread:
            self._leave(wanted)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leave, wanted)

    def taken(self, size_bytes: int) -> None:
        """Have the request that is being served be charged, if it is measured."""
        request = current_request.get()
        if request is not None and threading.get_ident() == self._thread:
            self._meter.add(request, size_bytes)

    async def _enter(self, wanted: reserved) -> None:
        until_seconds = self._loop.time() + WAIT_SECONDS
        while not self._try(wanted):
            if self._loop.time() >= until_seconds:
                raise MemoryShortError(too_short(wanted.size_bytes, WAIT_SECONDS))
            await asyncio.sleep(RETRY_SECONDS)

    def _try(self, wanted: reserved) -> bool:
        request = current_request.get()
        size_bytes = float(wanted.size_bytes)
        if request is not None and not request.has_ended:
            size_bytes -= request.remaining(self._desk.ledger.room_bytes).worst_bytes
        if size_bytes <= 0:
            return True
        aside = Aside(size_bytes)
        if not self._desk.set_aside(aside):
            return False
        self._held[wanted] = aside
        return True

    def _leave(self, wanted: reserved) -> None:
        aside = self._held.pop(wanted, None)
        if aside is not None:
            self._desk.give_back(aside)
            self._look()
