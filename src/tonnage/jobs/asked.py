"""One job as its caller sees it: what comes from its process, and what its owner says of it.

    async with Asked(call, given, owner) as job:
        kind, parcel = await job.receive()

Belongs to the event loop it was made in. Promises that whoever waits hears something: the process's
answer, else why there is none, and after :attr:`Asked.longest_seconds` at the latest, should the
owner be silent. Left early, it has the job ended; so it has where it is asked for in a request that
nobody waits for any more, at the next look. Holds one descriptor while it is open.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from tonnage.jobs import wire
from tonnage.jobs.line import START_SECONDS
from tonnage.jobs.messages import JobEnded
from tonnage.jobs.outcomes import busy, error_of

if TYPE_CHECKING:
    from tonnage.jobs.call import Call
    from tonnage.jobs.messages import ToCaller
    from tonnage.web.awaited import Awaited

#: How long the owner may take to say how a job ended whose process is gone.
LAST_WORD_SECONDS: Final = 10.0
#: How often it is looked whether the request is still waited for.
LOOK_SECONDS: Final = 0.25


class Owner(Protocol):
    """Whoever has jobs run, as a caller sees it."""

    def begin(self, job: Asked, theirs: socket.socket) -> bool:
        """Have *job* run, with the process's end of its socket; return False if it does not."""

    def forget(self, job: Asked, *, cancel: bool) -> None:
        """Expect nothing more of *job*, and have it ended if it is to be *cancelled*."""


class Asked:
    """A job that this process has asked for; an asynchronous context manager."""

    def __init__(
        self,
        call: Call,
        given: wire.Parcel,
        owner: Owner,
        awaited: Awaited | None = None,
        last_word_seconds: float = LAST_WORD_SECONDS,
    ) -> None:
        """Ask for a job, once this is entered.

        Args:
            call: which one.
            given: what its function is called with; sent and closed, whatever happens.
            owner: whoever has it run.
            awaited: the request that it is for; None: none, or not for that alone.
            last_word_seconds: how long the owner may be silent when all is over.
        """
        self.call = call
        self._last_word_seconds = last_word_seconds
        self._given = given
        self._owner = owner
        self._awaited = awaited
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._told: ToCaller | None = None
        self._next_look: asyncio.TimerHandle | None = None
        # Its process has closed its end; nothing is left to be ended.
        self._is_closed = self._is_over = False

    @property
    def longest_seconds(self) -> float:
        """How long it is waited for at most, should its owner say nothing."""
        turn_seconds = self.call.wait_seconds + START_SECONDS
        return turn_seconds + self.call.timeout_seconds + self._last_word_seconds

    async def __aenter__(self) -> Asked:
        try:
            self._end = self._begin()
        except OSError as error:
            raise busy(f"work cannot be taken on now ({error.strerror})") from error
        finally:
            self._given.close()
        self._loop.add_reader(self._end, self._news.set)
        self._by_itself = self._loop.call_later(self.longest_seconds, self.tell, _SILENT)
        self._look()
        return self

    def _look(self) -> None:
        """Look now and then whether somebody waits for the request."""
        if self._awaited is None:
            return
        if self._awaited.is_abandoned:
            self.tell(_ABANDONED)
        else:
            self._next_look = self._loop.call_later(LOOK_SECONDS, self._look)

    def _begin(self) -> socket.socket:
        ours, theirs = _pair()
        try:
            with theirs:
                ours.setblocking(False)
                self._given.send(ours, wire.Kind.GIVEN)
                if not self._owner.begin(self, theirs):
                    raise busy("work cannot be taken on now")
        except BaseException:
            ours.close()
            raise
        return ours

    async def __aexit__(self, *_: object) -> None:
        self._by_itself.cancel()
        if self._next_look is not None:
            self._next_look.cancel()
        self._loop.remove_reader(self._end)
        self._end.close()
        self._owner.forget(self, cancel=not self._is_over)

    def tell(self, message: ToCaller) -> None:
        """Note what the owner says; in the loop that the job belongs to."""
        self._told = self._told or message
        self._news.set()

    def tell_from_anywhere(self, message: ToCaller) -> None:
        """Do the same from any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            self._loop.call_soon_threadsafe(self.tell, message)

    def want_item(self) -> None:
        """Say that another item is wanted."""
        with suppress(OSError):  # it is gone: receive() tells
            wire.ask_more(self._end)

    async def receive(self) -> tuple[wire.Kind, wire.Parcel]:
        """Return the next message of the job's process.

        Raises:
            JobError: there will be none; it says why.
        """
        while True:
            self._news.clear()
            # Looked at first: whatever was sent before the owner spoke is there to be read.
            told = self._told
            message = self._next()
            if message is not None:
                self._is_over = message[0] is not wire.Kind.ITEM
                return message
            if told is not None:
                self._is_over = told not in (_SILENT, _GONE, _ABANDONED)
                raise error_of(self.call, told)
            await self._news.wait()

    def _next(self) -> tuple[wire.Kind, wire.Parcel] | None:
        """Return the next message, if there is one."""
        if self._is_closed:
            return None
        try:
            return wire.receive(self._end)
        except BlockingIOError:
            return None
        except EOFError:
            # From here on it is the owner's word that counts, and it has to come soon.
            self._is_closed = True
            self._loop.remove_reader(self._end)
            self._by_itself.cancel()
            self._by_itself = self._loop.call_later(self._last_word_seconds, self.tell, _GONE)
            return None


# Said by nobody: the owner's own have numbers from 1 on.
_SILENT: Final = JobEnded(0, "deadline", "nothing was heard of it")
_GONE: Final = JobEnded(0, "gone")
_ABANDONED: Final = JobEnded(0, "abandoned")


def _pair() -> tuple[socket.socket, socket.socket]:
    # As the channels have it: macOS knows no sequenced packets.
    kind = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM)
    return socket.socketpair(socket.AF_UNIX, kind)
