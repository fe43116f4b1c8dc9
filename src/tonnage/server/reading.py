"""Reads from sockets into one small buffer, so that a body that has to wait is not here already.

An event loop reads as much as there is, 256 KB at a time: 64 uploads that wait for their turn would
hold 16 MB before anybody has asked for them. Through this buffer a connection brings
:data:`READ_BYTES`, is stopped if that is more than is asked for, and leaves the rest to the kernel.

Does not parse: what was read goes to the :class:`~tonnage.server.protocol.Connection` inside.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tonnage.units import KIB

if TYPE_CHECKING:
    from tonnage.server.protocol import Connection

#: The most that one read brings. The buffer is everybody's, since the loop fills it and hands it
#: over in one go: the parser copies what is to stay.
READ_BYTES: Final = 32 * KIB
_buffer: Final = memoryview(bytearray(READ_BYTES))


class Reader(asyncio.BufferedProtocol):
    """Stands between the loop's transport and a connection."""

    __slots__ = (
        "_receive", "connection_lost", "connection_made", "eof_received", "pause_writing",
        "resume_writing",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        self._receive = connection.data_received
        # The rest is the connection's own.
        self.connection_made = connection.connection_made  # type: ignore[method-assign,assignment]
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]
        self.eof_received = connection.eof_received  # type: ignore[method-assign]
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the loop is to read to."""
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what was read."""
        self._receive(_buffer[:nbytes])
