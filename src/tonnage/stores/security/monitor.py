"""Attempts to log in, and suspicious activity: kept, counted, and answered with a block.

    monitor = SecurityMonitor()                                  # one for the application
    monitor.check(request)                                       # 429 while the client is blocked
    monitor.attempt(request, user="ann", succeeded=False)
    monitor.suspicious(request, "path traversal", detail=name)

Promises: a call takes some 30 µs and may come from any thread; what it notes is there for all
workers of the server, and outlives each of them. All monitors of a server are one: they share what
is here, whatever rules each has.

**A success** takes back what that client had failed under that name, and nothing else: else
somebody with a name of his own could guess at others' for ever, with a success in between.

**What is kept** of an event: time, kind, address, user, and a detail, cut to fit
(:mod:`tonnage.stores.security.events`). Of a user a pseudonym is kept, the same one each time,
unless ``show_users`` is set: people type passwords where a name belongs. Never give a secret as a
detail. While a client is blocked, what it does is counted and not kept, so that it cannot wash out
of the list what it did before: as ``refused`` where :meth:`SecurityMonitor.check` refused it, and
as ``left_out`` where it was noted all the same.

Bounded: the ring of events, :data:`~.tables.MOST_COUNTS` counts of clients and users (256 KB)
and :data:`~.tables.MOST_BLOCKS` blocks (64 KB), in tables that forget as that of rate limits does
(:mod:`tonnage.rates.table`): first who has failed least, and the block that ends first. So
whoever blocks thousands of addresses can have the first of them forgotten early.

Logs one line a second at most; how many there were besides is said in the next.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from tonnage.checks import read, whole
from tonnage.errors import ConfigError, RequestRefusedError
from tonnage.logs import alarm
from tonnage.stores.security.client import Client, address_of
from tonnage.stores.security.events import MOST_KEPT, EventRing
from tonnage.stores.security.listing import MOST_LISTED, Listing, name_of, pseudonym
from tonnage.stores.security.records import SecurityAlert, SecurityStatistics, blocked
from tonnage.stores.security.rules import (
    DEFAULT_RULES,
    FAILED,
    MOST_RULES,
    SUCCEEDED,
    SUSPICIOUS,
    Rule,
    checked,
)
from tonnage.stores.security.tables import blocks_table, counts_table, open_clients
from tonnage.units import format_seconds, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tonnage.rates.table import RateTable
    from tonnage.stores.security.events import Event

logger = logging.getLogger("tonnage.security")

DAY_SECONDS: Final = 86_400.0

_NANOSECONDS: Final = 1_000_000_000
_TELL_SECONDS: Final = 1.0


class SecurityMonitor:
    """Keeps what clients have done that matters for security, and which of them are blocked.

    Args:
        keep: how many of the last events are kept, up to :data:`~.events.MOST_KEPT`.
        keep_seconds: how long each is kept, in seconds or such as ``"1d"``.
        rules: what is done about too many of them; by default five failed log-ins in 15 minutes
            block a client for as long, so do ten suspicious events, and of twenty failed log-ins
            of one user in an hour people are told.
        show_users: keep the names of users, and not pseudonyms.
        on_alert: called with each alert, in the thread of whoever noted the event.
        clock: nanoseconds of the monotonic clock.
        wall_clock: seconds since 1970.

    Raises:
        ConfigError: a figure makes no sense, or there are too many rules.
        StoreError: there is no shared memory left.
    """

    def __init__(
        self,
        *,
        keep: int = 1000,
        keep_seconds: str | float = DAY_SECONDS,
        rules: Iterable[Rule] = DEFAULT_RULES,
        show_users: bool = False,
        on_alert: Callable[[SecurityAlert], object] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        whole("keep", keep, 1, MOST_KEPT)
        kept_seconds = read("keep_seconds", keep_seconds, parse_seconds)
        if not 1 <= kept_seconds < 2**32:
            raise ConfigError(f"keep_seconds={keep_seconds!r} makes no sense: a day is 86400 or 1d")
        self._counts, self._blocks = counts_table(), blocks_table()
        self._clients = open_clients()
        # By the kind of event that they are for.
        self._rules: dict[str, list[_Counter]] = {}
        given = checked(rules)
        if len(given) > MOST_RULES:
            raise ConfigError(f"{len(given)} rules are too many: up to {MOST_RULES} are looked at")
        for place, rule in enumerate(given):
            salt = self._clients.hash_of(f"{place} {rule!r}".encode(), b"rule")
            counter = _Counter(rule, salt)
            self._rules.setdefault(rule.kind, []).append(counter)
        self._show_users = show_users
        self._on_alert = on_alert
        self._clock = clock
        self._has_warned = False
        self._pace = alarm.Pace(_TELL_SECONDS)
        self._events = EventRing(clock=wall_clock)
        self._events.begin(keep, kept_seconds)

    # What the application tells.

    def attempt(
        self,
        client: Any,
        *,
        succeeded: bool,
        kind: str = "login",
        user: str | int | None = None,
        detail: str = "",
    ) -> None:
        """Note that *client* tried to get in.

        Args:
            client: its address, or the request (see :mod:`~tonnage.stores.security.client`).
            succeeded: whether it got in.
            kind: what it tried; its events are called ``login_failed`` and ``login_succeeded``.
            user: under which name, or the number of the user's record.
            detail: what else is to be known of it, and no secret.
        """
        who, name = Client(self._clients, client), name_of(user)
        if not succeeded:
            self._note(kind + FAILED, who, name, detail, "failed")
            return
        self._events.add(kind + SUCCEEDED, who.address, self._shown(name), detail, "succeeded")
        for counter in self._rules.get(kind + FAILED, ()):
            if counter.rule.by == "client":
                self._forgive(counter, who, name)

    def suspicious(
        self, client: Any, what: str, *, detail: str = "", user: str | int | None = None
    ) -> None:
        """Note that *client* did something suspicious.

        Args:
            client: its address, or the request.
            what: in a few words, such as ``path traversal``.
            detail: what else is to be known of it, and no secret.
            user: under which name, or the number of the user's record.
        """
        who, said = Client(self._clients, client), f"{what}: {detail}" if detail else what
        self._note(SUSPICIOUS, who, name_of(user), said, SUSPICIOUS)

    def unblock(self, client: Any) -> None:
        """Let *client* in again, and begin to count anew what it does."""
        who, now_ns = Client(self._clients, client), self._clock()
        self._blocks.put(who.key, 0, now_ns)
        for counters in self._rules.values():
            for counter in counters:
                for salt in (counter.salt, counter.told_salt):
                    self._counts.put(who.key ^ salt, 0, now_ns)

    # What it asks.

    def is_blocked(self, client: Any) -> float:
        """Return for how many seconds *client* is blocked yet; 0: it is not. Counts nothing."""
        who = Client(self._clients, client)
        return self._blocks.ahead_ns(who.key, self._clock()) / _NANOSECONDS

    def check(self, client: Any) -> None:
        """Refuse *client* while it is blocked, and count that.

        Raises:
            RequestRefusedError: it is; let out, it is answered with 429 and Retry-After.
        """
        seconds = self.is_blocked(client)
        if seconds:
            self._events.count("refused")
            raise RequestRefusedError(blocked(seconds))

    def events(
        self,
        *,
        limit: int = MOST_LISTED,
        kind: str | None = None,
        client: Any = None,
        user: str | int | None = None,
    ) -> list[Event]:
        """Return the events that are kept, the newest first.

        Args:
            limit: how many at most.
            kind: only those of this kind.
            client: only those of this client.
            user: only those about this user, whose name may be given though it is not kept.
        """
        self._events.sweep()
        address = None if client is None else address_of(client)
        name = None if user is None else name_of(user)
        return Listing(limit, kind, address, name).of(self._events, self._clients)

    def statistics(self) -> SecurityStatistics:
        """Return what was counted."""
        return SecurityStatistics(
            kept=sum(1 for _ in self._events.newest()),
            **self._events.counts(),
            blocked_now=self._blocks.count_ahead(self._clock()),
        )

    # What is made of it.

    def _note(self, kind: str, who: Client, user: str, detail: str, counted: str) -> None:
        now_ns, shown = self._clock(), self._shown(user)
        forgotten = self._counts.forgotten + self._blocks.forgotten
        if self._blocks.ahead_ns(who.key, now_ns):
            self._events.count(counted, "left_out")
        else:
            self._events.add(kind, who.address, shown, detail, counted)
        for counter in self._rules.get(kind, ()):
            if counter.rule.by == "user":
                key = self._clients.hash_of(user.encode(errors="replace"), b"user")
                if user and counter.is_met(self._counts, key, now_ns):
                    self._tell(counter, key, None, shown, now_ns)
            elif not who.address:
                self._warn(
                    "a client without an address is not blocked: it could be any; set"
                    " --proxy-hops if a proxy is in front"
                )
            else:
                is_met = counter.is_met(self._counts, who.key, now_ns)
                # For the success that may follow.
                pair = self._pair(who, user) ^ counter.salt
                self._counts.take(pair, counter.rule.rate, now_ns)
                if is_met:
                    self._block(counter.rule, who, now_ns)
                    self._tell(counter, who.key, who, shown, now_ns)
        # The tables count for this process; what others have forgotten is of interest, too.
        lost = self._counts.forgotten + self._blocks.forgotten - forgotten
        if lost:
            self._events.count(*["forgotten"] * lost)

    def _block(self, rule: Rule, who: Client, now_ns: int) -> None:
        block_ns = int(rule.block_seconds * _NANOSECONDS)
        if block_ns > self._blocks.ahead_ns(who.key, now_ns):
            self._blocks.put(who.key, now_ns + block_ns, now_ns)
        if block_ns and who.may_be_proxy:
            self._warn(
                f"{who.address} was blocked, from where requests come with X-Forwarded-For:"
                " if that is a proxy, all its clients are blocked with it; set --proxy-hops"
            )

    def _tell(
        self, counter: _Counter, key: int, who: Client | None, shown: str, now_ns: int
    ) -> None:
        """Tell people that a rule is met by *who*, or for a user; once while it goes on."""
        rule, told = counter.rule, key ^ counter.told_salt
        if self._counts.ahead_ns(told, now_ns):
            return
        seconds = rule.block_seconds or rule.within_seconds
        self._counts.put(told, now_ns + int(seconds * _NANOSECONDS), now_ns)
        often = f"{rule.kind} {rule.rate.count} times within {format_seconds(rule.within_seconds)}"
        address = "" if who is None else who.address
        if refused := self._events.take_refused():
            often += f"; blocked clients were refused {refused} times since the last alert"
        if rule.block_seconds:
            text = f"{address} is blocked for {format_seconds(seconds)}: {often}"
            self._events.add("blocked", address, "", text, "blocked", "alerts")
        else:
            text = f"{address or f'user {shown}'}: {often}"
            self._events.add("alert", address, shown, text, "alerts")
        alert = SecurityAlert(rule, text, address, shown, rule.block_seconds)
        if self._on_alert is not None:
            try:
                self._on_alert(alert)
            except Exception:  # it is the application's, and the attempt is noted
                logger.exception("the application's on_alert failed")
        self._pace.tell(text, {"rule": str(rule), "client": address, "user": shown})

    def _warn(self, text: str) -> None:
        """Log *text*, if it is the first time that anything is wrong with addresses."""
        if not self._has_warned:
            self._has_warned = True
            logger.warning("%s", text)

    def _forgive(self, counter: _Counter, who: Client, user: str) -> None:
        """Take back what *who* had failed as *user*, as far as time has not."""
        now_ns, counts = self._clock(), self._counts
        pair, client = self._pair(who, user) ^ counter.salt, who.key ^ counter.salt
        failed_ns = counts.ahead_ns(pair, now_ns)
        if failed_ns:
            rest_ns = max(0, counts.ahead_ns(client, now_ns) - failed_ns)
            counts.put(client, now_ns + rest_ns, now_ns)
            counts.put(pair, 0, now_ns)

    def _pair(self, who: Client, user: str) -> int:
        both = who.network + b"\0" + user.encode(errors="replace")
        return self._clients.hash_of(both, b"pair")

    def _shown(self, user: str) -> str:
        return user if self._show_users else pseudonym(self._clients, user)


class _Counter:
    """A rule, and what tells its cells from those of others."""

    __slots__ = ("rule", "salt", "told_salt")

    def __init__(self, rule: Rule, salt: int) -> None:
        self.rule = rule
        self.salt = salt
        # Another number that is as good as random.
        self.told_salt = salt ^ 0x9E3779B97F4A7C15

    def is_met(self, counts: RateTable, key: int, now_ns: int) -> bool:
        """Count an event of *key*; return whether there were too many with it."""
        rate = self.rule.rate
        return counts.take(key ^ self.salt, rate, now_ns) < rate.interval_ns
