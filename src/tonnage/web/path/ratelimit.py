"""Rate limits: whether a request may pass, what its response says of it, and the 429 if not.

One :class:`RateLimiter` holds the limits of one rule (the default, or a route's own). All of them
count each request; if one refuses, none has counted it, and the one that takes longest answers.
What a response says is that of the IETF draft ``draft-ietf-httpapi-ratelimit-headers-11``:
``RateLimit-Policy`` lists all limits, ``RateLimit`` says what is left of the tightest. The
``RateLimit-Limit``, ``-Remaining`` and ``-Reset`` of earlier versions are not sent: they would say
nothing more, and clients disagree on whether the last is an instant or a duration.

It knows no addresses (:mod:`tonnage.rates.clients`), keeps nothing
(:mod:`tonnage.rates.table`), does no arithmetic (:mod:`tonnage.rates.gcra`), and does not
send (:mod:`tonnage.problem`).
"""

from __future__ import annotations

import logging
import time
import weakref
from typing import TYPE_CHECKING, Final

from tonnage.problem import Problem
from tonnage.rates.clients import Clients
from tonnage.rates.limits import BY_ADDRESS, BY_HEADER, Limit, LimitsLike, parse_limits
from tonnage.rates.table import Store, default_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.rates.limits import KeyOf
    from tonnage.web.respond import Scope

    Headers = tuple[tuple[bytes, bytes], ...]
    Said = Headers | Problem
    Find = Callable[[Scope], int | None]

logger = logging.getLogger("tonnage.requests")

_NO_HEADERS: Final = ()
_POLICY: Final = b"ratelimit-policy"
_SERVICE: Final = b"ratelimit"
_SECOND_NS = 1_000_000_000


class RateLimiter:
    """The limits of one rule.

    Args:
        limits: what applies; see :func:`~tonnage.rates.limits.parse_limits`.
        name: the rule's name, told to clients; limits of rules with different names count apart.
        store: where it is counted; by default the table that all workers share.
        clients: remembers addresses; one for all limiters of a store is enough.
        clock: the monotonic clock, in nanoseconds.

    Raises:
        ConfigError: a limit makes no sense.
    """

    def __init__(
        self,
        limits: LimitsLike,
        *,
        name: str = "default",
        store: Store | None = None,
        clients: Clients | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        parsed = parse_limits(limits)
        self._store = default_table() if store is None else store
        self._take = self._store.take
        self._clock = clock
        clients = Clients(self._store.secret) if clients is None else clients
        self._meters = tuple(
            Meter(limit, limit.name or (name if len(parsed) == 1 else f"{name} {limit}"), clients)
            for limit in parsed
        )
        self._only = self._meters[0] if len(parsed) == 1 else None
        self._policy = _POLICY, b", ".join(meter.policy for meter in self._meters)
        self._has_warned = False
        #: The rule's, as clients are told.
        self.name = name
        #: Requests refused in this process.
        self.refused = 0
        _living.add(self)

    def check(self, scope: Scope) -> Said:
        """Count the request of *scope*: return the headers for its response, or the 429.

        There are no headers where none of the limits is for this request.
        """
        only = self._only
        if only is None:
            return self._check_all(scope)
        key = only.find(scope)
        if key is None:
            return _NO_HEADERS
        left_ns = self._take(key ^ only.salt, only.rate, self._clock())
        if left_ns < 0:
            return self._refuse(scope, [(left_ns, only)])
        return self._policy, only.service(left_ns)

    def check_in_thread(self, scope: Scope) -> Said:
        """Do the same where nothing can be awaited."""
        return self.check(scope)

    def _check_all(self, scope: Scope) -> Said:
        counted = self.count(scope)
        return counted if isinstance(counted, Problem) else self.headers(counted)

    # The steps of a check, for whoever counts somewhere else besides.

    def count(self, scope: Scope) -> list[Counted] | Problem:
        """Count the request of *scope* by each limit that is for it; or by none: return the 429."""
        now_ns = self._clock()
        counted: list[Counted] = []
        refusals: list[tuple[int, Meter]] = []
        for meter in self._meters:
            found = meter.find(scope)
            if found is None:
                continue
            key = found ^ meter.salt
            left_ns = self._take(key, meter.rate, now_ns)
            if left_ns < 0:
                refusals.append((left_ns, meter))
            else:
                counted.append((left_ns, meter, key))
        if not refusals:
            return counted
        self.give_back(counted)
        return self._refuse(scope, refusals)

    def give_back(self, counted: list[Counted]) -> None:
        """Take back what was counted."""
        for _, meter, key in counted:
            self._store.give_back(key, meter.rate)

    def headers(self, counted: list[Counted]) -> Headers:
        """Return the headers for the response to a request that all limits let in."""
        if not counted:
            return _NO_HEADERS
        left_ns, tightest, _ = min(counted, key=_requests_left)
        return self._policy, tightest.service(left_ns)

    def refuse(self, scope: Scope, counted: list[Counted]) -> Problem:
        """Return the 429 of those limits that have less than nothing left."""
        return self._refuse(scope, [(left, meter) for left, meter, _ in counted if left < 0])

    def _refuse(self, scope: Scope, refusals: list[tuple[int, Meter]]) -> Problem:
        self.refused += 1
        left_ns, meter = min(refusals, key=lambda refusal: refusal[0])
        wait_seconds = meter.rate.decision(left_ns).retry_after_seconds
        self._warn_of_proxy(scope)
        return Problem(
            status=429,
            error="rate_limited",
            detail=f"the limit of {meter.limit} is reached; try again in {wait_seconds} s",
            extra={
                "retryAfter": wait_seconds,
                "violated-policies": [refused.name for _, refused in refusals],
            },
            headers=(
                self._policy,
                (_SERVICE, meter.form % (0, wait_seconds)),
                (b"retry-after", b"%d" % wait_seconds),
            ),
        )

    def _warn_of_proxy(self, scope: Scope) -> None:
        """Log, once, that a proxy may have been refused for what all its clients did together."""
        if self._has_warned or "tonnage.peer" in scope:
            return
        client = scope.get("client")
        # Whoever puts a forwarded address there has no port, and writes 0.
        if (client and not client[1]) or not _is_forwarded(scope):
            return
        self._has_warned = True
        logger.warning(
            "a request that came with X-Forwarded-For was refused by the limit for the address that"
            " it came from: if that is a proxy, all its clients count as one; set --proxy-hops"
        )


def living() -> list[RateLimiter]:
    """Return the limiters of this process."""
    return list(_living)


# All limiters of this process, held weakly.
_living: weakref.WeakSet[RateLimiter] = weakref.WeakSet()


class Meter:
    """A limit, made ready for requests."""

    __slots__ = ("find", "form", "interval_ns", "limit", "name", "policy", "rate", "salt")

    def __init__(self, limit: Limit, name: str, clients: Clients) -> None:
        self.limit = limit
        self.name = name
        self.rate = limit.rate
        self.interval_ns = limit.rate.interval_ns
        self.find = _finder(limit.key, clients)
        # Keys are as good as random, and so is this: together they tell each limit's clients apart.
        self.salt = clients.hash_of(f"{name}\n{limit}".encode(), b"limit")
        quoted = _quote(name)
        # The draft counts whole seconds, and not fewer than one.
        window_seconds = max(1, round(limit.rate.period_seconds))
        self.policy = b"%s;q=%d;w=%d" % (quoted, limit.rate.count, window_seconds)
        self.form = quoted.replace(b"%", b"%%") + b";r=%d;t=%d"

    def service(self, left_ns: int) -> tuple[bytes, bytes]:
        """Return the header that says what is left: the draft's r, and how long that is to last.

        That is until everything is back, so that a client that spreads its requests over it is
        never refused; with nothing left, until there is one again.
        """
        rate = self.rate
        remaining = left_ns // self.interval_ns
        wait_ns = rate.full_ns - left_ns if remaining else self.interval_ns - left_ns
        return _SERVICE, self.form % (remaining, -(-wait_ns // _SECOND_NS))


#: What is left (as ``left_ns``), of which limit, and by which key it counts.
Counted = tuple[int, Meter, int]


def _finder(key: str | KeyOf, clients: Clients) -> Find:
    """Return what finds the key of a request, before it is mixed with the limit's salt."""
    if key == BY_ADDRESS:
        return clients.key
    if isinstance(key, str):
        return _header_finder(key.removeprefix(BY_HEADER).encode(), clients)
    return _function_finder(key, clients)


def _header_finder(name: bytes, clients: Clients) -> Find:
    def find(scope: Scope) -> int:
        for each, value in scope["headers"]:
            if each == name and value:
                return clients.hash_of(value, b"header")
        return clients.key(scope)

    return find


def _function_finder(function: KeyOf, clients: Clients) -> Find:
    def find(scope: Scope) -> int | None:
        text = function(scope)
        return None if text is None else clients.hash_of(text.encode(errors="replace"), b"function")

    return find


def _requests_left(counted: Counted) -> int:
    left_ns, meter, _ = counted
    return left_ns // meter.interval_ns


def _is_forwarded(scope: Scope) -> bool:
    return any(name == b"x-forwarded-for" for name, _ in scope["headers"])


def _quote(name: str) -> bytes:
    """Return *name* as a string of RFC 9651: printable ASCII only, quotes escaped."""
    shown = "".join(char if " " <= char <= "~" else "?" for char in name)
    return b'"' + shown.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
