"""Who has shown a wrong admin token too often; and telling people of it.

Promises: after :data:`ATTEMPTS` wrong tokens of a client within 15 minutes, none of its tokens
opens anything, not even the right one, until some of that time has passed; all workers of the
server count together. What has failed is told in the log, once a minute at most with how many
there were besides, and as an event of the security monitor where the application has one.

Does not cover who may do what (:mod:`tonnage.ops.trust`). Cookies that are wrong are told of, and
block nobody: what one is made of cannot be guessed. A client is the address that the server
believes: behind a proxy that it does not know of (``--proxy-hops``), all clients are one.

Bounded: :data:`MOST_CLIENTS` clients of 16 bytes in shared memory, in a table that forgets first
who has failed least (:mod:`tonnage.rates.table`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tonnage.errors import StoreError
from tonnage.logs import alarm
from tonnage.ops.login import bearer, is_token
from tonnage.ops.trust import is_trusted
from tonnage.problem import printable
from tonnage.rates.clients import Clients
from tonnage.rates.gcra import Rate
from tonnage.rates.table import RateTable, shared_table
from tonnage.stores.security.client import address_of
from tonnage.stores.security.events import EventRing
from tonnage.stores.security.rules import FAILED
from tonnage.web.proxy import peer_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.web.respond import Scope

ATTEMPTS: Final = 10
WITHIN_SECONDS: Final = 900.0

MOST_CLIENTS: Final = 4096
_TELL_SECONDS: Final = 60.0
# Of a path.
_LONGEST_SHOWN: Final = 100
_RATE: Final = Rate(ATTEMPTS, WITHIN_SECONDS)
# Another number that is as good as random.
_OF_COOKIES: Final = 0x9E3779B97F4A7C15
_NANOSECONDS: Final = 1_000_000_000


class Doorman:
    """Counts wrong tokens. Made when the first token is shown.

    Args:
        admin_token: the right one.
        clock: nanoseconds of the monotonic clock.
    """

    def __init__(self, admin_token: str, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._admin_token = admin_token
        self._clock = clock
        try:
            self._table = shared_table("operators' attempts", MOST_CLIENTS)
        except StoreError:  # shared memory is full: then each worker counts for itself
            self._table = RateTable(MOST_CLIENTS)
        self._clients = Clients(self._table.secret)
        self._pace = alarm.Pace(_TELL_SECONDS)

    def blocks(self, scope: Scope) -> bool:
        """Return whether the client of *scope* shows a token, and none of it opens anything now.

        A wrong one that it has shown in its header is counted.
        """
        given = bearer(scope["headers"])
        if given is None:
            return False
        if self.blocked_seconds(scope):
            return True
        is_wrong = not (is_token(given, self._admin_token) or _is_of_application(given))
        if is_wrong and not _is_local(scope):
            self.failed(scope)
        return False

    def blocked_seconds(self, scope: Scope) -> float:
        """Return for how many seconds no token of the client of *scope* opens anything."""
        ahead_ns = self._table.ahead_ns(self._clients.key(scope), self._clock())
        return max(0, ahead_ns - _RATE.full_ns + _RATE.interval_ns) / _NANOSECONDS

    def failed(self, scope: Scope) -> None:
        """Count that the client of *scope* has shown a wrong token, and tell of it."""
        self._table.take(self._clients.key(scope), _RATE, self._clock())
        self._tell(scope, "a wrong token")

    def forged(self, scope: Scope) -> None:
        """Tell that the client of *scope* has shown a cookie that is not ours.

        Told as often as wrong tokens are, or it would wash out all other events; and it blocks
        nothing: after the token was changed, a page that is still open does the same.
        """
        key = self._clients.key(scope) ^ _OF_COOKIES
        if self._table.take(key, _RATE, self._clock()) >= 0:
            self._tell(scope, "a wrong cookie")

    def _tell(self, scope: Scope, what: str) -> None:
        address, path = address_of(scope), printable(scope["path"][:_LONGEST_SHOWN])
        ring = EventRing()
        if ring.is_begun:
            ring.add("operator" + FAILED, address, "", f"{what} at {path}", "failed")
        fields = {"client": address, "path": path}
        self._pace.tell(f"{address or 'a client'} has shown {what} at {path}", fields)


def _is_of_application(token: str) -> bool:
    """Return whether *token* is a JWT: an application's own, sent along with all requests."""
    return token.startswith("eyJ") and token.count(".") == 2


def _is_local(scope: Scope) -> bool:
    return is_trusted(peer_address(scope), scope["headers"], None)
