"""What goes onto the task queue for a job: a ticket, small, as JSON; and where the rest is.

The ticket says which function is to run, within what bounds, and where its arguments are. They are
not part of it, since the queue writes a job's record again at each of its heartbeats.

Promises: tickets and references are checked as they are read; what makes no sense is a ValueError.
No clock and no I/O here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from tonnage.jobs.call import Call

#: The queue's name: what it keeps in Redis begins with ``saq:tonnage:`` and ``saq:job:tonnage:``.
QUEUE: Final = "tonnage"
#: The queue's function; the one that the ticket names is run by it.
FUNCTION: Final = "job"
#: For how long a result is kept that has an id, or that nobody has fetched.
KEPT_SECONDS: Final = 600
#: A job that nobody has asked for in so long is not begun, and ended where it runs.
LEASE_SECONDS: Final = 20
#: A worker that is not heard of for so long is taken for dead, and its jobs are done by others.
HEARTBEAT_SECONDS: Final = 8
#: How long it may take beyond that until another worker has the job.
HANDOVER_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Where:
    """Where a pickled value is: in Redis, or in the store for large ones.

    Attributes:
        name: its key in Redis, or its name in the store.
        size_bytes: how large it is.
        digest: the SHA-256 of its bytes, in hexadecimal.
        is_stored: whether it is in the store.
    """

    name: str
    size_bytes: int
    digest: str
    is_stored: bool

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Where:
        """Return what ``asdict`` gave.

        Raises:
            ValueError: it makes no sense.
        """
        given = _named(fields, cls.__slots__)
        # It becomes part of a path.
        name = str(given["name"])
        if "/" in name or name.startswith("."):
            raise ValueError("the name of a value is not one of ours")
        try:
            size_bytes = int(given["size_bytes"])
        except TypeError as error:
            raise ValueError("the reference to a value makes no sense") from error
        return cls(name, size_bytes, str(given["digest"]), bool(given["is_stored"]))


@dataclass(frozen=True, slots=True)
class Ticket:
    """One job.

    Attributes:
        call: what is to run, within which bounds.
        run: the name of this run; a job with an id may be run again, long after.
        given: where the arguments are.
        is_kept: whether its result is kept for others who ask for the same id.
        has_items: whether its function yields items, which are asked for one by one.
    """

    call: Call
    run: str
    given: Where
    is_kept: bool = False
    has_items: bool = False

    def as_fields(self) -> dict[str, Any]:
        """Return it as fields that JSON can hold."""
        return {
            "call": self.call.as_fields(),
            "run": self.run,
            "given": asdict(self.given),
            "is_kept": self.is_kept,
            "has_items": self.has_items,
        }

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Ticket:
        """Return what :meth:`as_fields` gave; other fields are left out.

        Raises:
            ValueError: it makes no sense.
        """
        try:
            given = _named(fields, cls.__slots__)
            call, where = Call.from_fields(given["call"]), Where.from_fields(given["given"])
        except (TypeError, KeyError) as error:
            raise ValueError("what is on the queue is no ticket") from error
        run = str(given["run"])
        if not run.isalnum():
            raise ValueError("the ticket makes no sense")
        return cls(call, run, where, bool(given["is_kept"]), bool(given["has_items"]))

    @property
    def news_key(self) -> str:
        """The key of the stream in which its worker tells of it."""
        return f"tonnage:jobs:news:{self.run}"

    @property
    def lease_key(self) -> str:
        """The key that is there for as long as somebody waits; it says how many items he has."""
        return f"tonnage:jobs:lease:{self.run}"


def longest_seconds(call: Call, retries: int) -> float:
    """Return after how long a job of *call* is certainly over: what is its own may go then."""
    once = call.wait_seconds + call.timeout_seconds + HEARTBEAT_SECONDS + HANDOVER_SECONDS
    return once * (retries + 1)


def _named(fields: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    try:
        return {name: fields[name] for name in names}
    except (TypeError, KeyError) as error:
        raise ValueError("a part of what is on the queue is missing") from error
