"""Everything the supervisor answers itself: control socket, admin port, and the stand-in.

Owns those sockets and the conversations on them, at most
:data:`~tonnage.server.conversation.MOST_CONNECTIONS` at once, which together keep at most
:data:`MOST_UNSENT_BYTES` of answers that have not been read yet. Until it is told of the
:class:`~tonnage.server.actions.Actions` and of views, only health is answered.

Workers ask here too, for the operators that they have let in: by one end of a pair of sockets, on
which they speak as on the control socket (:mod:`tonnage.web.relay`).
"""

from __future__ import annotations

import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from tonnage.ops.trust import may_press, may_see
from tonnage.server.conversation import DEADLINE_SECONDS, MOST_CONNECTIONS, Conversation, peer_of
from tonnage.server.listener import is_for_want_of_room
from tonnage.server.standin import StandIn
from tonnage.server.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tonnage.ops.health import Health
    from tonnage.server.actions import Actions
    from tonnage.server.conversation import Head
    from tonnage.server.messages import WorkerChannel
    from tonnage.server.reactor import Reactor

MOST_UNSENT_BYTES: Final = 2**20


class FrontDesk:
    """The supervisor's own sockets."""

    def __init__(
        self,
        reactor: Reactor,
        health: Health,
        *,
        admin_token: str | None,
        listening: socket.socket,
        clock: Callable[[], float],
        page_path: str = "",
    ) -> None:
        self._reactor = reactor
        self._health = health
        self._admin_token = admin_token
        self._listening = listening
        self._clock = clock
        self._actions: Actions | None = None
        self._page_path = page_path
        #: What operators are shown.
        self.views = Views(page_path)
        # Each with what is called when somebody knocks.
        self._doors: dict[socket.socket, Callable[[], None]] = {}
        # Bounded by MOST_CONNECTIONS: see _begin.
        self._conversations: set[Conversation] = set()
        self._control_path: Path | None = None
        self._standin = StandIn(listening, health, admin_token, self._take_over)
        self._is_standing_in = False

    def open(self, listening: socket.socket, *, trusted: bool, path: Path | None = None) -> None:
        """Answer on *listening* from now on; *trusted*: whoever can reach it may see everything."""
        call = partial(self._accept, listening, trusted=trusted)
        self._doors[listening] = call
        self._control_path = path or self._control_path
        self._reactor.register(listening, call)

    def offer(self, actions: Actions) -> None:
        """Carry *actions* out from now on, for those who may; on the app's port by the page."""
        self._actions = actions

    def converse(self, fds: Iterable[int]) -> None:
        """Answer on *fds*, ends of pairs of sockets: a worker asks for whom it has let in."""
        for fd in fds:
            self._begin(socket.socket(fileno=fd), trusted=True)

    def stand_in(self, stuck: bool, awake: list[WorkerChannel]) -> None:
        """Take over the app's port while all workers are *stuck*; give back to who is *awake*."""
        self._is_standing_in = stuck
        for connection in list(self._standin.looking):
            self._look_at(connection)
        for connection in self._standin.overdue(self._clock()):
            self._reactor.unregister(connection)
        if awake and not self._standin.is_empty:
            self._hand_over(awake)
        self._watch_port()

    def hand_back(self, serving: list[WorkerChannel]) -> None:
        """Give the port and all that was taken from it to *serving*, who are about to end.

        Also where they are stuck: what their channels take now they serve before they end.
        """
        self._is_standing_in = False
        self._watch_port()
        self._hand_over(serving)

    def tidy(self) -> None:
        """End the conversations whose time is up; look again after doors that had to be left."""
        now = self._clock()
        for conversation in [each for each in self._conversations if now >= each.deadline_seconds]:
            self._end(conversation)
        for door, call in self._doors.items():
            self._reactor.register(door, call)

    def close(self) -> None:
        """Close every socket and remove the control socket's file."""
        for conversation in list(self._conversations):
            self._end(conversation)
        for door in self._doors:
            self._reactor.unregister(door)
            door.close()
        self._doors.clear()
        self._standin.close()
        if self._control_path is not None:
            self._control_path.unlink(missing_ok=True)
            # Closed again, it would remove that of a server that has come meanwhile.
            self._control_path = None

    def _accept(self, listening: socket.socket, *, trusted: bool) -> None:
        try:
            connection, _ = listening.accept()
        except OSError as error:
            if is_for_want_of_room(error):
                # Who knocks waits in the kernel's queue, and would call again at once.
                self._reactor.unregister(listening)
            return
        self._begin(connection, trusted=trusted)

    def _begin(self, connection: socket.socket, *, trusted: bool) -> None:
        if len(self._conversations) >= MOST_CONNECTIONS:
            connection.close()
            return
        conversation = Conversation(
            connection,
            self._health,
            admin_token=self._admin_token,
            is_trusted_socket=trusted,
            deadline_seconds=self._clock() + DEADLINE_SECONDS,
            actions=self._actions,
            views=self.views,
        )
        self._conversations.add(conversation)
        self._wait_for(conversation)

    def _take_over(self, connection: socket.socket, head: Head) -> bool:
        """Converse on *connection* of the app's port if it is an operator's; else return False.

        What it asks for below the page, that is: other paths may be the application's own.
        """
        if not self._page_path or not head.path.startswith(self._page_path):
            return False
        who = peer_of(connection), head.headers, self._admin_token, time.time()
        looks = head.method in ("GET", "HEAD") and self.views.has(head.path) and may_see(*who)
        acts = self.views.pressed(head) is not None and may_press(*who)
        if looks or acts:
            self._begin(connection, trusted=False)
        return looks or acts

    def _wait_for(self, conversation: Conversation) -> None:
        call = partial(self._converse, conversation)
        self._reactor.register(conversation, call, conversation.events)

    def _converse(self, conversation: Conversation) -> None:
        if conversation.on_ready() or self._unsent_bytes() > MOST_UNSENT_BYTES:
            self._end(conversation)
        else:
            self._wait_for(conversation)

    def _unsent_bytes(self) -> int:
        return sum(each.unsent_bytes for each in self._conversations)

    def _end(self, conversation: Conversation) -> None:
        self._reactor.unregister(conversation)
        self._conversations.discard(conversation)
        conversation.close()

    def _take(self) -> None:
        try:
            connection = self._standin.accept(self._clock())
        except OSError:
            # Until the next look after the workers: see _accept.
            self._reactor.unregister(self._listening)
            return
        if connection is None:
            return
        self._reactor.register(connection, lambda: self._look_at(connection))
        self._watch_port()

    def _look_at(self, connection: socket.socket) -> None:
        # Unregistered first: once answered, the connection is closed and has no descriptor. And not
        # registered again: what was looked at is still there to be read, so it would call at once.
        self._reactor.unregister(connection)
        self._standin.on_readable(connection)

    def _hand_over(self, workers: list[WorkerChannel]) -> None:
        for connection in self._standin.release():
            self._reactor.unregister(connection)
        self._standin.hand_over(workers)

    def _watch_port(self) -> None:
        """Take connections of the app's port while no worker does, and there is room for them."""
        if self._is_standing_in and not self._standin.is_full:
            self._reactor.register(self._listening, self._take)
        else:
            self._reactor.unregister(self._listening)
