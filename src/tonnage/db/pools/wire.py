"""What arrives on a connection's wire, counted before the driver has it.

    wire = Wire(protocol, transport)            # from now on between the two
    with wire.answer(most_bytes=32 * MIB) as answer:
        rows = await ask()                      # fails when the answer is larger:
    answer.is_too_large                         # the connection is gone then

Promises: an answer that is larger than it may be is not received: the connection is cut, which ends
the statement in the server, too. No more than what one read of the socket brings (some 200 KB) goes
beyond. What is received beyond the first megabyte is asked for from the governor first, each time
as much again; until it is granted nothing is read, and the server waits. It costs a function call
for each read of the socket, and no round trip.

Bytes are those on the wire: what Python makes of small values takes some times as much. Does not
count rows, and does not know where one ends.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, Self

from tonnage.governor.reservations import reserved, taken
from tonnage.units import MIB

if TYPE_CHECKING:
    from types import TracebackType

#: So much of an answer is received without asking.
UNASKED_BYTES: Final = MIB
#: What is received is there twice for a while: in what was read, and as objects.
COPIES: Final = 2


class Wire(asyncio.Protocol):
    """Hands on what a transport says to *protocol*, and counts it.

    Args:
        protocol: the driver's.
        transport: whose protocol it was.
    """

    def __init__(self, protocol: Any, transport: Any) -> None:
        self._protocol = protocol
        self._transport = transport
        self._answer: Answer | None = None
        transport.set_protocol(self)

    def answer(self, most_bytes: int | None) -> Answer:
        """Return what watches over the next answer; it may have *most_bytes*, None: any."""
        return Answer(self, most_bytes)

    @property
    def descriptor(self) -> int:
        """The number of its socket; negative once that is closed."""
        if self._transport.is_closing():
            return -1
        number: int = self._transport.get_extra_info("socket").fileno()
        return number

    # For answers.

    def watch(self, answer: Answer | None) -> None:
        """Tell *answer* from now on what arrives; None: nobody."""
        self._answer = answer

    def pause(self) -> None:
        """Read nothing for now."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def cut(self) -> None:
        """End the connection at once; the driver fails whoever waits."""
        self._transport.abort()

    # As transports call it.

    def data_received(self, data: bytes) -> None:
        """Count *data*, and hand it on unless it is too much."""
        answer = self._answer
        if answer is None or answer.take(len(data)):
            self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """See :class:`asyncio.Protocol`."""
        kept: bool | None = self._protocol.eof_received()
        return kept

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self._protocol.resume_writing()


class Answer:
    """One answer of the server, while it is received; a context, in the task that waits for it."""

    __slots__ = ("_asking", "_context", "_granted_bytes", "_held", "_most_bytes",
                 "_wire", "is_too_large", "received_bytes", "refusal")  # fmt: skip

    def __init__(self, wire: Wire, most_bytes: int | None) -> None:
        self._wire = wire
        self._most_bytes = most_bytes
        self._context = copy_context()
        self._granted_bytes = UNASKED_BYTES
        # A doubling each: some ten at most.
        self._held: list[reserved] = []
        self._asking: asyncio.Task[None] | None = None
        self.received_bytes = 0
        #: Whether it was cut off since it was larger than it may be.
        self.is_too_large = False
        #: Why it was cut off, where memory was short.
        self.refusal: Exception | None = None

    def take(self, size_bytes: int) -> bool:
        """Count what has arrived; return whether the driver is to have it."""
        self.received_bytes += size_bytes
        if self._most_bytes is not None and self.received_bytes > self._most_bytes:
            self.is_too_large = True
            self._wire.cut()
            return False
        if self.received_bytes > self._granted_bytes and self._asking is None:
            self._wire.pause()
            asking = self._ask(self.received_bytes)
            # For the request that waits for it, and not by way of the loop's factory: it is no
            # step of that request.
            self._asking = asyncio.Task(
                asking, loop=asyncio.get_running_loop(), context=self._context
            )
        return True

    async def _ask(self, size_bytes: int) -> None:
        wanted = reserved(size_bytes * COPIES)
        try:
            await wanted.__aenter__()
        except Exception as error:  # noqa: BLE001  (it is raised where the answer is waited for)
            self.refusal = error
            self._wire.cut()
            return
        self._held.append(wanted)
        self._granted_bytes += size_bytes
        self._asking = None
        self._wire.resume()

    def __enter__(self) -> Self:
        self._wire.watch(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._wire.watch(None)
        # The driver makes rows of what arrives while nobody's step runs.
        taken(self.received_bytes)
        if self._asking is not None:
            # Whoever waited has been cancelled: what still comes has to be read for the driver.
            self._asking.cancel()
            self._wire.resume()
        for each in self._held:
            each.__exit__(None, None, None)
