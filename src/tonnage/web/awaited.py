"""Whether anybody still waits for the answer of a request, for work that is done for it alone.

    awaited = Awaited(receive)          # whoever passes a request on: the guard, the limits
    ...
    if awaited.is_abandoned: ...        # what was begun for it, in any thread

The request is that of the context, which threads of frameworks inherit (:func:`current`). Abandoned
is one whose client has closed its connection, as far as the server lets that be known (uvicorn, and
so ours, does; not for WebSockets, whose application hears of it), or that was answered in the
application's place, as when its time is over. What is begun when it has ended is not its own: an
application has much to do behind a response.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tonnage.web.respond import Receive

_current: ContextVar[Awaited | None] = ContextVar("tonnage_awaited", default=None)


class Awaited:
    """One request, as one layer sees it; to be ended when the layer has passed it on."""

    # One is made for every request.
    __slots__ = ("_outer", "_receive", "_was_abandoned")

    def __init__(self, receive: Receive) -> None:
        """Be that of the context; *receive* is what the layer was given."""
        self._receive: Receive | None = receive
        outer = _current.get()
        # Not one that has ended: a server may start the next request in the context of the last.
        self._outer = None if outer is None or outer._receive is None else outer
        self._was_abandoned = False
        _current.set(self)

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody waits for its answer, or did when it ended; in any thread."""
        receive, outer = self._receive, self._outer
        if receive is None:
            return self._was_abandoned
        if is_gone(receive):
            return True
        return outer is not None and outer.is_abandoned

    @property
    def has_ended(self) -> bool:
        """Whether the layer has passed it on; a thread may work for it yet."""
        return self._receive is None

    def end(self) -> None:
        """Note that the request has ended."""
        self._was_abandoned = self.is_abandoned
        # Else this one stays, and is passed over from now on.
        if self._outer is not None:
            _current.set(self._outer)
        self._receive = self._outer = None


def current() -> Awaited | None:
    """Return the request that the running code works for; None: there is none, or it has ended."""
    found = _current.get()
    return None if found is None or found.has_ended else found


def is_gone(receive: Receive) -> bool:
    """Return whether the client that *receive* reads from has gone, or has its answer."""
    try:
        return bool(receive.__self__.disconnected)  # type: ignore[attr-defined]
    except AttributeError:
        return False
