"""What supervisor and workers say to each other.

What concerns jobs (:mod:`tonnage.jobs.messages`) and what a worker has counted
(:mod:`tonnage.ops.figures.telling`) is said over the same channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tonnage.governor.reclaim import Reclaimed
from tonnage.host.channel import Channel, Dialogue
from tonnage.jobs.messages import FromCaller, ToCaller
from tonnage.ops.figures.telling import Counted

# From the supervisor to a worker; what it does about each: tonnage.server.orders.


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish what has begun, and end."""


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Give memory back, and say what came of it.

    Attributes:
        level: how much is called for, a :class:`tonnage.governor.levels.Level`.
        need_bytes: the worker's part of what has to go.
        why: a few words for the log.
    """

    level: int
    need_bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Trace:
    """Follow for *seconds* what is allocated, at a cost of *budget_bytes* at most."""

    seconds: float
    budget_bytes: int


@dataclass(frozen=True, slots=True)
class Clear:
    """Empty the caches called *name*; None: all."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Adopt:
    """Serve a client's connection, which comes along."""


# From a worker to the supervisor; who hears each: tonnage.server.foreman.


@dataclass(frozen=True, slots=True)
class Hello:
    """It is process *pid*, and about to begin."""

    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    """It accepts requests."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The application does not start; a zygote says so too.

    Attributes:
        error: why, in a line.
        is_mistaken: the target's name is wrong, or an option: no error of the application's.
    """

    error: str
    is_mistaken: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Answer on the socket that comes along, for somebody whom the worker has let in."""


@dataclass(frozen=True, slots=True)
class RanOut:
    """A request ran out of memory, and the worker goes on.

    Attributes:
        route: which, as ``GET /users/{}``.
        line: where, as ``shop/views.py:12 in burst``.
        grown_bytes: what the worker grew by since shortly before the request.
        left_bytes: what it had left when the request began.
        was_freed: what the request held was free again before it could be measured.
        answered: the status; None: the response had begun.
    """

    route: str
    line: str
    grown_bytes: int
    left_bytes: int
    was_freed: bool
    answered: int | None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a request that ran out of memory had held did not come back."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A trace is over; *report* is a :class:`tonnage.server.leaks.trace.TraceReport`."""

    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Tell people of an attack."""

    text: str
    fields: dict[str, Any]


ToWorker = Stop | Reclaim | Trace | Clear | Adopt | ToCaller
#: What a worker says of its life, of its memory, and that people are to be told of.
OfStart = Hello | Ready | Failed
OfMemory = Reclaimed | RanOut | Kept | Traced | Alarm
FromWorker = OfStart | OfMemory | Ask | Counted | FromCaller

WORKERS: Final[Dialogue[ToWorker, FromWorker]] = Dialogue(ToWorker, FromWorker)

#: From the supervisor to a worker, and the other end of that.
WorkerChannel = Channel[ToWorker, FromWorker]
SupervisorChannel = Channel[FromWorker, ToWorker]
