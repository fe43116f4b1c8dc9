"""Messages between supervisor, zygote and workers: one small record each, over a socket pair.

The socket keeps message boundaries and never grows: a message is at most :data:`LONGEST_BYTES`.
"""

from __future__ import annotations

import array
import json
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_BYTES: Final = 16 * 1024
# To this the texts of a longer message are cut; escaped, each character is at most 12 bytes.
_SHORT_CHARS: Final = 1024


class Channel:
    """One end of a pair. ``receive`` returns None when there is nothing, raises at the end."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Return two connected ends."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, _kind())
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        """Return the descriptor, to select on."""
        return self._socket.fileno()

    def setblocking(self, blocking: bool) -> None:
        """Choose whether ``receive`` waits."""
        self._socket.setblocking(blocking)

    def send(self, kind: str, *, fds: tuple[int, ...] = (), **fields: Any) -> bool:
        """Send a message; return False if the other end is gone or does not read.

        Where a message is too long, its texts are cut: an application's error can be of any length.
        """
        payload = _encode({"kind": kind, **fields})
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.sendmsg([payload], rights, socket.MSG_NOSIGNAL)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """Return a message and the descriptors that came with it; None if there is none now.

        Raises:
            EOFError: the other end is closed.
        """
        try:
            payload, fds, _, _ = socket.recv_fds(self._socket, LONGEST_BYTES, 4)
        except (BlockingIOError, InterruptedError):
            return None
        except ConnectionResetError:
            payload, fds = b"", []
        if not payload:
            raise EOFError
        return json.loads(payload), list(fds)

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield what there is to be received now; of messages that bring no descriptors.

        Raises:
            EOFError: the other end is closed, and all that it had sent has been yielded.
        """
        while (received := self.receive()) is not None:
            yield received[0]

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def _encode(message: dict[str, Any]) -> bytes:
    payload = json.dumps(message).encode()
    if len(payload) <= LONGEST_BYTES:
        return payload
    short = {
        name: value[:_SHORT_CHARS] if isinstance(value, str) else value
        for name, value in message.items()
    }
    return json.dumps(short).encode()


def _kind() -> int:
    # macOS has no sequenced packets on Unix sockets; datagrams keep boundaries as well, and only
    # the notice of the other end's closing is lost.
    return getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM)
