"""Which events are asked for: by whoever has a monitor, and by operators without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tonnage.stores.security.client import network_of

if TYPE_CHECKING:
    from tonnage.rates.clients import Clients
    from tonnage.stores.security.events import Event, EventRing

MOST_LISTED: Final = 100
"""Events in a list that does not say how many."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of events.

    Attributes:
        limit: how many at most.
        kind: only those of this kind; None: of any.
        client: only those of this client's address, or of its IPv6 network.
        user: only those about this user, whose name may be given though it is not kept.
        before: only those with a lower number, so that a long list can be had in parts.
    """

    limit: int = MOST_LISTED
    kind: str | None = None
    client: str | None = None
    user: str | None = None
    before: int | None = None

    def of(self, ring: EventRing, clients: Clients) -> list[Event]:
        """Return those of *ring*, the newest first."""
        network = None if self.client is None else network_of(self.client)
        users = None if self.user is None else {self.user, pseudonym(clients, self.user)}
        found: list[Event] = []
        for event in ring.newest():
            if len(found) >= self.limit:
                break
            if (
                (self.before is None or event.number < self.before)
                and (self.kind is None or event.kind == self.kind)
                and (network is None or network_of(event.client) == network)
                and (users is None or event.user in users)
            ):
                found.append(event)
        return found


def pseudonym(clients: Clients, user: str) -> str:
    """Return what stands for *user* where names are not kept; empty for nobody."""
    if not user:
        return ""
    return f"~{clients.hash_of(user.encode(errors='replace'), b'name'):016x}"


def name_of(user: str | int | None) -> str:
    """Return what a user is called; 0 may be the number of one."""
    return "" if user is None else str(user)
