"""Messages between our processes: one small record each, over a socket pair.

    WORKERS: Final[Dialogue[ToWorker, FromWorker]] = Dialogue(ToWorker, FromWorker)

    ours, theirs = WORKERS.pair()
    ours.send(Reclaim(level, need_bytes, why))      # one of ToWorker
    received = ours.receive()                       # one of FromWorker, and descriptors

A message is a dataclass of what JSON can hold, or of other such dataclasses; of a tuple arrives a
list. It travels under its class's name. What two processes may say to each other is a
:class:`Dialogue`, which stands beside them: :mod:`tonnage.server.messages`,
:mod:`tonnage.jobs.messages`, :mod:`tonnage.server.zygote`, :mod:`tonnage.ops.alertsender`.

The socket keeps message boundaries and never grows: a message is at most :data:`LONGEST_BYTES`.
What is received and is none of the dialogue's is logged and left out.
"""

from __future__ import annotations

import array
import json
import logging
import os
import socket
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, get_args, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("tonnage.channel")

LONGEST_BYTES: Final = 16 * 1024
# To this the texts of a longer message are cut; escaped, each character is at most 12 bytes.
_SHORT_CHARS: Final = 1024
# Of one that is not understood the log has so much.
_SHOWN_BYTES: Final = 200

Sent = TypeVar("Sent", contravariant=True)
Received = TypeVar("Received", covariant=True)
Down = TypeVar("Down")
Up = TypeVar("Up")


class Channel(Generic[Sent, Received]):
    """One end of a pair. ``receive`` returns None when there is nothing, raises at the end."""

    def __init__(self, end: socket.socket, received: Any) -> None:
        """Speak over *end*; what comes is one of the union *received*."""
        self._socket = end
        self._kinds = _kinds(received)

    def fileno(self) -> int:
        """Return the descriptor, to select on."""
        return self._socket.fileno()

    def setblocking(self, blocking: bool) -> None:
        """Choose whether ``receive`` waits."""
        self._socket.setblocking(blocking)

    def send(self, message: Sent, *, fds: tuple[int, ...] = ()) -> bool:
        """Send a message; return False if the other end is gone or does not read.

        Where a message is too long, its texts are cut: an application's error can be of any length.
        """
        payload = _encoded(message)
        if len(payload) > LONGEST_BYTES:
            logger.error("a message is too long and is not sent: %r", payload[:_SHOWN_BYTES])
            return False
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.sendmsg([payload], rights, socket.MSG_NOSIGNAL)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self) -> tuple[Received, list[int]] | None:
        """Return a message and the descriptors that came with it; None if there is none now.

        Raises:
            EOFError: the other end is closed.
        """
        while True:
            try:
                payload, fds, _, _ = socket.recv_fds(self._socket, LONGEST_BYTES, 4)
            except (BlockingIOError, InterruptedError):
                return None
            except ConnectionResetError:
                payload, fds = b"", []
            if not payload:
                raise EOFError
            try:
                return self._decoded(payload), list(fds)
            except (KeyError, TypeError, ValueError) as error:
                # Both ends are ours, but one may have been started from newer code.
                logger.error(
                    "a message is not understood and is left out (%r): %r",
                    error,
                    payload[:_SHOWN_BYTES],
                )
                for fd in fds:
                    os.close(fd)

    def messages(self) -> Iterator[Received]:
        """Yield what there is to be received now; of messages that bring no descriptors.

        Raises:
            EOFError: the other end is closed, and all that it had sent has been yielded.
        """
        while (received := self.receive()) is not None:
            yield received[0]

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _decoded(self, payload: bytes) -> Received:
        given = json.loads(payload)
        made: Received = _made(self._kinds[given["kind"]], given)
        return made


@dataclass(frozen=True, slots=True)
class Dialogue(Generic[Down, Up]):
    """What two processes may say to each other, of which one starts the other.

    Attributes:
        down: the union of the messages to the one that is started.
        up: the union of those from it.
    """

    down: Any
    up: Any

    def __post_init__(self) -> None:
        """Look at each message once, so that no process need when it is short of memory."""
        for kind in (*_kinds(self.down).values(), *_kinds(self.up).values()):
            _hints(kind)

    def pair(self) -> tuple[Channel[Down, Up], Channel[Up, Down]]:
        """Return two connected ends, the second for the process that is started."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, _type())
        return Channel(ours, self.up), Channel(theirs, self.down)

    def second(self, fd: int) -> Channel[Up, Down]:
        """Return the second end, which has come to this process as the descriptor *fd*."""
        return Channel(socket.socket(fileno=fd), self.down)


def _kinds(union: Any) -> dict[str, Any]:
    """Return the classes of *union*, which may be one alone or ``Never``, by their names."""
    classes = get_args(union) or (union,)
    return {each.__name__: each for each in classes if isinstance(each, type)}


def _encoded(message: object) -> bytes:
    kind: Any = type(message)
    fields = {name: getattr(message, name) for name in _hints(kind)}
    payload = _json(message, fields)
    if len(payload) <= LONGEST_BYTES:
        return payload
    return _json(
        message,
        {
            name: value[:_SHORT_CHARS] if isinstance(value, str) else value
            for name, value in fields.items()
        },
    )


def _json(message: object, fields: dict[str, Any]) -> bytes:
    return json.dumps({"kind": type(message).__name__, **fields}, default=asdict).encode()


def _made(kind: Any, given: dict[str, Any]) -> Any:
    """Return the *kind* with the fields *given*; those that it does not know are left out."""
    return kind(
        **{
            name: _made(hint, given[name]) if is_dataclass(hint) else given[name]
            for name, hint in _hints(kind).items()
            if name in given
        }
    )


@cache  # as many as there are classes of messages
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _type() -> int:
    # macOS has no sequenced packets on Unix sockets; datagrams keep boundaries as well, and only
    # the notice of the other end's closing is lost.
    return getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM)
