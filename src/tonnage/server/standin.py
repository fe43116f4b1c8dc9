"""The stand-in: answers health, and operators, on the app's port while every worker is stuck.

A worker that sits in a synchronous call accepts nothing. When that is so of all of them, the
supervisor takes connections from the shared socket, looks at what they ask without consuming it,
answers if it is health, gives it to the front desk if it is an operator's (the live page shows the
stuck workers then, and can have them replaced), and passes every other connection to a worker,
whole and unread, to be served when the call is over. Nothing is lost, and at most :data:`MOST_HELD`
are held.

Connections that a stuck worker has already accepted cannot be helped.
"""

from __future__ import annotations

import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tonnage.ops.trust import is_trusted
from tonnage.server.conversation import (
    LONGEST_HEAD_BYTES,
    NotHttpError,
    peer_of,
    read_head,
    write,
)
from tonnage.server.listener import is_for_want_of_room
from tonnage.server.messages import Adopt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.ops.health import Health
    from tonnage.server.conversation import Head
    from tonnage.server.messages import WorkerChannel

MOST_HELD: Final = 256
# Without a complete request line after so long, it is not for us to judge.
PEEK_SECONDS: Final = 0.5


class StandIn:
    """Connections taken in the workers' stead.

    Args:
        listening: the app's port.
        health: answers health.
        admin_token: opens the details.
        converse: takes a connection over, unread, with the head that it is about to read; returns
            whether it has.
    """

    def __init__(
        self,
        listening: socket.socket,
        health: Health,
        admin_token: str | None,
        converse: Callable[[socket.socket, Head], bool] = lambda connection, head: False,
    ) -> None:
        self._listening = listening
        self._health = health
        self._admin_token = admin_token
        self._converse = converse
        # Both bounded by MOST_HELD together: see accept.
        self.looking: dict[socket.socket, float] = {}
        self._held: deque[socket.socket] = deque()

    @property
    def is_full(self) -> bool:
        """Whether no further connection may be taken."""
        return len(self.looking) + len(self._held) >= MOST_HELD

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not self.looking and not self._held

    def accept(self, now_seconds: float) -> socket.socket | None:
        """Take one connection, to be watched until it can be read; None: there is none.

        Raises:
            OSError: there is no room for one: no descriptor is free.
        """
        if self.is_full:
            return None
        try:
            connection, _ = self._listening.accept()
        except OSError as error:
            if is_for_want_of_room(error):
                raise
            return None
        connection.setblocking(False)
        self.looking[connection] = now_seconds + PEEK_SECONDS
        return connection

    def on_readable(self, connection: socket.socket) -> bool:
        """Look at what *connection* asks; return True once it need not be watched any more."""
        try:
            seen = connection.recv(LONGEST_HEAD_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            seen = b""
        if not seen:
            self._drop(connection)
            return True
        try:
            head = read_head(seen)
        except NotHttpError:
            self._hold(connection)
            return True
        if head is None:
            return False
        found = self._health.find(head.path)
        if head.method in ("GET", "HEAD") and found is not None:
            trusted = is_trusted(peer_of(connection), head.headers, self._admin_token)
            self._answer(connection, write(found(trusted), head.method))
        elif self._converse(connection, head):
            self.looking.pop(connection, None)
        else:
            self._hold(connection)
        return True

    def overdue(self, now_seconds: float) -> list[socket.socket]:
        """Hold the connections that have not said enough for too long; return them."""
        late = [each for each, deadline in self.looking.items() if now_seconds >= deadline]
        for connection in late:
            self._hold(connection)
        return late

    def release(self) -> list[socket.socket]:
        """Stop looking: hold whatever was still being looked at, and return it."""
        waiting = list(self.looking)
        for connection in waiting:
            self._hold(connection)
        return waiting

    def hand_over(self, awake: list[WorkerChannel]) -> None:
        """Pass what is held to the workers at the other ends of *awake*, in turn."""
        taking = deque(awake)
        while self._held and taking:
            if taking[0].send(Adopt(), fds=(self._held[0].fileno(),)):
                self._held.popleft().close()
                taking.rotate(-1)
            else:
                # Full for now, or gone; the rest is tried again soon.
                taking.popleft()

    def close(self) -> None:
        """Close everything held."""
        for connection in (*self.looking, *self._held):
            connection.close()
        self.looking.clear()
        self._held.clear()

    def _answer(self, connection: socket.socket, answer: bytes) -> None:
        with suppress(OSError):  # it may be gone by now
            # Consumed only now: left unread, it would reset the connection, and the answer be lost.
            connection.recv(LONGEST_HEAD_BYTES)
            connection.send(answer)
        self._drop(connection)

    def _hold(self, connection: socket.socket) -> None:
        self.looking.pop(connection, None)
        self._held.append(connection)

    def _drop(self, connection: socket.socket) -> None:
        self.looking.pop(connection, None)
        connection.close()
