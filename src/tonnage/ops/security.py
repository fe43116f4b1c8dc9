"""What operators are told of security: the events that are kept, and what was counted.

The same words from a worker and from the supervisor, which finds the events in shared memory. No
lock is taken to read them, and nothing is erased. Whom it is told is decided by whoever asks here.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tonnage.host.commons import open_commons
from tonnage.ops.answers import NO_OTHER_SITE, answer_json, problem, who_may
from tonnage.ops.query import QueryError, read_query, whole_number

if TYPE_CHECKING:
    from tonnage.answer import Answer
    from tonnage.host.commons import Commons
    from tonnage.rates.clients import Clients
    from tonnage.rates.table import RateTable
    from tonnage.stores.security.events import EventRing
    from tonnage.stores.security.listing import Listing

PATH: Final = "/security/events"
#: So many events of 256 bytes fit into an answer of the supervisor.
MOST_LISTED: Final = 400

_FORBIDDEN: Final = who_may("security events are shown", NO_OTHER_SITE)
_LARGEST: Final = 2**63 - 1


def has_monitor() -> bool:
    """Return whether the application of this server has made a monitor."""
    return _ring(open_commons()).is_begun


def answer_events(query: str, *, trusted: bool) -> Answer | None:
    """Return the answer to a GET with *query*; None: there is no monitor, so nothing is here."""
    if not has_monitor():
        return None
    if not trusted:
        return problem(403, "forbidden", _FORBIDDEN)
    clients, blocks = _tables(open_commons())
    try:
        listing = _listing(query)
    except QueryError as error:
        return problem(400, "bad_request", str(error))
    ring = _ring(open_commons())
    events = listing.of(ring, clients)
    counted = ring.counts() | {"blocked_now": blocks.count_ahead(time.monotonic_ns())}
    return answer_json({"events": [each.as_json() for each in events], "statistics": counted})


def counted() -> dict[str, int] | None:
    """Return what was counted in all workers since the start; None: there is no monitor."""
    return _ring(open_commons()).counts() if has_monitor() else None


# Opened once, as that takes a lock. Imported when somebody asks: most servers have no monitor.


@lru_cache(maxsize=1)
def _ring(commons: Commons) -> EventRing:
    from tonnage.stores.security.events import EventRing

    return EventRing()


@lru_cache(maxsize=1)
def _tables(commons: Commons) -> tuple[Clients, RateTable]:
    from tonnage.stores.security.tables import blocks_table, open_clients

    return open_clients(), blocks_table()


def _listing(query: str) -> Listing:
    from tonnage.stores.security import listing

    found = read_query(query, "limit", "before", "kind", "client", "user")
    limit, before = found.get("limit"), found.get("before")
    return listing.Listing(
        listing.MOST_LISTED if limit is None else whole_number("limit", limit, 1, MOST_LISTED),
        found.get("kind"),
        found.get("client"),
        found.get("user"),
        None if before is None else whole_number("before", before, 1, _LARGEST),
    )
