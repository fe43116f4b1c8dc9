"""A worker's question to the supervisor, for an operator whom it has let in.

    supervisor = SupervisorClient(send)
    answer = await supervisor.ask("GET", "/tonnage/state")

The question goes over one end of a pair of sockets; the other end is sent to the supervisor, which
answers on it as on its control socket. So nothing has to be found in the file system, and what is
asked here is trusted: who may ask is decided before.

Promises: an answer, or :class:`UnansweredError` within :data:`DEADLINE_SECONDS`. Bounded: a worker
asks :data:`MOST_QUESTIONS` at once; an answer is what the supervisor sends at most
(:data:`tonnage.server.conversation.LONGEST_ANSWER_BYTES`).
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tonnage.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_SECONDS: Final = 5.0
MOST_QUESTIONS: Final = 8

# Said anew by whoever passes the answer on.
_DROPPED: Final = frozenset((b"content-type", b"content-length", b"connection", b"cache-control"))


class UnansweredError(Exception):
    """The supervisor gives no answer; says why."""


class SupervisorClient:
    """Asks the supervisor, on behalf of one worker.

    Args:
        send: sends a descriptor to the supervisor; returns whether it was taken.
    """

    def __init__(self, send: Callable[[int], bool]) -> None:
        self._send = send
        self._asked = 0

    async def ask(self, method: str, target: str) -> Answer:
        """Return the answer to a request without a body.

        Args:
            method: of HTTP.
            target: path and query, in printable ASCII without spaces.

        Raises:
            UnansweredError: there was none.
        """
        if self._asked >= MOST_QUESTIONS:
            raise UnansweredError("too much is being asked at once")
        self._asked += 1
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return _read(await self._talk(f"{method} {target} HTTP/1.1\r\n\r\n".encode()))
        except TimeoutError:
            waited = f"the supervisor has not answered within {DEADLINE_SECONDS:g} s"
            raise UnansweredError(waited) from None
        except OSError as error:
            raise UnansweredError(f"the supervisor cannot be asked: {error}") from error
        finally:
            self._asked -= 1

    async def _talk(self, request: bytes) -> bytes:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                if not self._send(theirs.fileno()):
                    raise UnansweredError("the supervisor takes no questions just now")
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()
            # It may have closed first, with our request unread.
            with suppress(OSError):
                await writer.wait_closed()


def _read(data: bytes) -> Answer:
    """Return the answer that *data* is, as :func:`tonnage.server.conversation.write` has made it.

    Raises:
        UnansweredError: it is cut off.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    found = dict(headers)
    if found.get(b"content-length") != b"%d" % len(body):
        raise UnansweredError("the supervisor has too much to do, or is about to end")
    others = tuple(each for each in headers if each[0] not in _DROPPED)
    return Answer(int(first.split()[1]), body, others, found[b"content-type"])
