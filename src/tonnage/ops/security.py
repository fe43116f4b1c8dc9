"""What operators are told of security: the events that are kept, and what was counted.

The same words from a worker and from the supervisor, which finds the events in shared memory. No
lock is taken to read them, and nothing is erased. Whom it is told is decided by whoever asks here.
"""

from __future__ import annotations

import json
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from tonnage.host.commons import open_commons
from tonnage.ops.query import QueryError, read_query, whole_number
from tonnage.web.answer import Answer

if TYPE_CHECKING:
    from tonnage.host.commons import Commons
    from tonnage.stores.security.events import EventRing
    from tonnage.stores.security.listing import Listing
    from tonnage.web.path.clients import Clients
    from tonnage.web.path.ratetable import RateTable

PATH: Final = "/security/events"
#: So many events of 256 bytes fit into an answer of the supervisor.
MOST_LISTED: Final = 400

_FORBIDDEN: Final = {
    "error": "forbidden",
    "detail": "security events are shown to loopback peers without a proxy, to no page of another "
    "site, or with 'Authorization: Bearer <TONNAGE_ADMIN_TOKEN>'",
}
_LARGEST: Final = 2**63 - 1


def answer_events(query: str, *, trusted: bool) -> Answer | None:
    """Return the answer to a GET with *query*; None: there is no monitor, so nothing is here."""
    ring = _ring(open_commons())
    if not ring.is_begun:
        return None
    if not trusted:
        return _json(403, _FORBIDDEN)
    clients, blocks = _tables(open_commons())
    try:
        listing = _listing(query)
    except QueryError as error:
        return _json(400, {"error": "bad_request", "detail": str(error)})
    events = listing.of(ring, clients)
    counted = ring.counts() | {"blocked_now": blocks.count_ahead(time.monotonic_ns())}
    return _json(200, {"events": [each.as_json() for each in events], "statistics": counted})


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


def _json(status: int, body: dict[str, Any]) -> Answer:
    # Without escapes, which would make some texts three times as long.
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return Answer(status, text.encode())
