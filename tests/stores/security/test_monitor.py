"""Who fails too often is blocked for a while; who gets in is forgiven; nobody is locked out."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.forking import fork, status_of

import tonnage
from tonnage.errors import ConfigError, RequestRefusedError
from tonnage.logs import alarm
from tonnage.rates.clients import Clients
from tonnage.stores.security.client import Client, address_of
from tonnage.stores.security.events import MOST_KEPT
from tonnage.stores.security.monitor import SecurityMonitor
from tonnage.stores.security.records import SecurityAlert
from tonnage.stores.security.rules import MOST_RULES, Rule
from tonnage.stores.security.tables import MOST_BLOCKS

CLIENT, OTHER = "203.0.113.7", "198.51.100.9"
SECOND = 1_000_000_000
MINUTE = 60.0
RULES = (Rule("login_failed", failures=3, within="15m", block="10m"),)


class Site:
    """A monitor, and the time."""

    def __init__(self, **options: Any) -> None:
        self.now_ns = 1_000 * SECOND
        self.alerts: list[SecurityAlert] = []
        self.monitor = self.open(**{"rules": RULES, **options})

    def open(self, **options: Any) -> SecurityMonitor:
        """Return a monitor as another worker makes it."""
        return SecurityMonitor(
            **{
                "on_alert": self.alerts.append,
                "clock": lambda: self.now_ns,
                "wall_clock": lambda: 1_800_000_000 + self.now_ns / SECOND,
                **options,
            }
        )

    def fail(self, times: int = 1, client: Any = CLIENT, user: str = "ann") -> None:
        """Fail to log in."""
        for _ in range(times):
            self.monitor.attempt(client, user=user, succeeded=False)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += int(seconds * SECOND)

    def kinds(self, **which: Any) -> list[str]:
        """Return the kinds of the events, the oldest first."""
        return [event.kind for event in reversed(self.monitor.events(**which))]


def test_who_fails_too_often_is_blocked_for_a_while() -> None:
    """And nobody else is."""
    site = Site()
    site.fail(2)
    assert site.monitor.is_blocked(CLIENT) == 0
    site.fail()

    assert site.monitor.is_blocked(CLIENT) == 600
    assert site.monitor.is_blocked(OTHER) == 0
    site.wait(599)
    assert site.monitor.is_blocked(CLIENT) == 1
    site.wait(1)
    assert site.monitor.is_blocked(CLIENT) == 0


def test_a_blocked_client_is_told_when_to_come_again() -> None:
    """With 429 and Retry-After, where the application lets it out."""
    site = Site()
    site.monitor.check(CLIENT)
    site.fail(3)
    site.wait(0.5)

    with pytest.raises(RequestRefusedError) as refused:
        site.monitor.check(CLIENT)

    answer = refused.value.problem.answer()
    assert (answer.status, json.loads(answer.body)["error"]) == (429, "blocked")
    assert dict(answer.headers)[b"retry-after"] == b"600"


def test_failures_are_forgiven_one_by_one() -> None:
    """Three in 15 minutes: one each five."""
    site = Site()
    for _ in range(20):
        site.fail()
        site.wait(5 * MINUTE)
    assert not site.monitor.is_blocked(CLIENT)
    site.fail(2)
    site.wait(5 * MINUTE)
    site.fail()
    assert not site.monitor.is_blocked(CLIENT)
    site.fail()
    assert site.monitor.is_blocked(CLIENT)


def test_failures_need_not_come_at_once() -> None:
    """Who fails twice as often as is forgiven is found within the rule's time."""
    site = Site()
    begun_ns = site.now_ns
    while not site.monitor.is_blocked(CLIENT):
        site.wait(2.5 * MINUTE)
        site.fail()

    assert site.now_ns - begun_ns <= 15 * MINUTE * SECOND


def test_a_success_takes_back_what_that_client_failed_under_that_name() -> None:
    """Somebody who mistypes his password now and then is never blocked."""
    site = Site()
    for _ in range(10):
        site.fail(2)
        site.monitor.attempt(CLIENT, user="ann", succeeded=True)
        site.wait(1)
    assert not site.monitor.is_blocked(CLIENT)


def test_a_success_under_a_name_of_ones_own_takes_nothing_else_back() -> None:
    """Else an attacker with an account would log in between guesses at others' passwords."""
    site = Site()
    site.fail(2, user="ann")
    site.monitor.attempt(CLIENT, user="mallory", succeeded=True)
    site.fail(1, user="bob")

    assert site.monitor.is_blocked(CLIENT)


def test_a_success_takes_back_what_time_has_left() -> None:
    """Failing, waiting and succeeding gains no more than waiting does."""
    site = Site()
    site.fail(1, user="mallory")
    site.fail(1, user="ann")
    site.wait(4 * MINUTE)
    site.monitor.attempt(CLIENT, user="mallory", succeeded=True)
    # Of 10 minutes' worth 5 were taken back less the 4 that have passed, and 4 have passed.
    site.fail(1, user="bob")
    assert not site.monitor.is_blocked(CLIENT)
    site.fail(1, user="bob")
    assert site.monitor.is_blocked(CLIENT)


def test_a_success_of_another_client_takes_nothing_back() -> None:
    """The user himself logs in elsewhere while somebody guesses."""
    site = Site()
    site.fail(2)
    site.monitor.attempt(OTHER, user="ann", succeeded=True)
    site.fail()

    assert site.monitor.is_blocked(CLIENT)


def test_guesses_at_one_user_from_everywhere_are_told_and_lock_nobody_out() -> None:
    """A rule by user raises an alert, once while it goes on."""
    site = Site(rules=(Rule("login_failed", failures=5, within="1h", by="user"),))
    for number in range(40):
        site.fail(1, client=f"203.0.113.{number}")

    assert [alert.text for alert in site.alerts] == [
        f"user {site.alerts[0].user}: login_failed 5 times within 1 h"
    ]
    assert not any(site.monitor.is_blocked(f"203.0.113.{number}") for number in range(40))
    assert site.kinds(kind="alert") == ["alert"]
    site.wait(3600)
    site.fail(5)
    assert len(site.alerts) == 2


def test_a_rule_by_user_cannot_block() -> None:
    """It would be a way to lock others out."""
    with pytest.raises(ConfigError, match="anybody could lock a user out"):
        Rule("login_failed", failures=5, within="1h", by="user", block="1h")


def test_suspicious_activity_has_rules_too() -> None:
    """All kinds of it count together."""
    site = Site(rules=(Rule("suspicious", failures=2, within="1h", block="1h"),))
    site.monitor.suspicious(CLIENT, "path traversal", detail="../../etc/passwd")
    site.monitor.suspicious(CLIENT, "forged token")

    assert site.monitor.is_blocked(CLIENT) == 3600
    details = [event.detail for event in site.monitor.events(kind="suspicious")]
    assert details == ["forged token", "path traversal: ../../etc/passwd"]


def test_other_attempts_are_called_by_their_kind() -> None:
    """And have rules of their own."""
    site = Site(rules=(Rule("reset_failed", failures=1, within="1h", block="1h"),))
    site.fail(9)
    assert not site.monitor.is_blocked(CLIENT)
    site.monitor.attempt(CLIENT, kind="reset", succeeded=False)
    assert site.monitor.is_blocked(CLIENT)
    site.monitor.attempt(OTHER, kind="reset", succeeded=True)
    assert site.kinds(client=OTHER) == ["reset_succeeded"]


def test_of_several_rules_the_longest_block_holds() -> None:
    """Whichever is met first."""
    site = Site(
        rules=(
            Rule("login_failed", failures=2, within="15m", block="1h"),
            Rule("login_failed", failures=2, within="15m", block="1m"),
        )
    )
    site.fail(2)

    assert site.monitor.is_blocked(CLIENT) == 3600


def test_a_blocked_client_cannot_wash_out_what_it_did() -> None:
    """What it does meanwhile is counted, and not kept."""
    site = Site(keep=10)
    site.fail(100)

    assert site.kinds() == ["login_failed"] * 3 + ["blocked"]
    found = site.monitor.statistics()
    assert (found.failed, found.left_out, found.kept) == (100, 97, 4)
    assert (found.blocked, found.blocked_now, found.alerts) == (1, 1, 1)


def test_what_a_blocked_client_is_refused_is_counted() -> None:
    """Else a long attack looks like a few tries; asking whether it is blocked counts nothing."""
    site = Site()
    site.fail(3)
    for _ in range(27):
        with pytest.raises(RequestRefusedError):
            site.monitor.check(CLIENT)
    site.monitor.check(OTHER)
    assert site.monitor.is_blocked(CLIENT)

    found = site.monitor.statistics()
    assert (found.failed, found.left_out, found.refused) == (3, 0, 27)
    assert site.open(rules=()).statistics().refused == 27
    site.wait(15 * MINUTE)
    site.fail(3)
    site.wait(15 * MINUTE)
    site.fail(3)
    assert [" 27 times since the last alert" in alert.text for alert in site.alerts] == [
        False,
        True,
        False,
    ]


def test_what_is_forgotten_early_is_counted_for_all_workers() -> None:
    """More blocks than fit."""
    site = Site(rules=(Rule("login_failed", failures=1, within="1h", block="1h"),), keep=1)
    for number in range(MOST_BLOCKS + 200):
        site.fail(1, client=f"10.0.{number >> 8}.{number & 255}")

    assert site.monitor.statistics().forgotten > 0
    assert site.open(rules=()).statistics() == site.monitor.statistics()


def test_a_user_may_be_a_number() -> None:
    """That of a record, 0 included; it is the same user as its text."""
    site = Site(rules=(Rule("login_failed", failures=2, within="1h", by="user"),))
    site.monitor.attempt(CLIENT, user=0, succeeded=False)
    site.monitor.attempt(CLIENT, user=0, succeeded=False)
    site.monitor.suspicious(CLIENT, "scraping", user=5)
    site.monitor.attempt(CLIENT, user=5, succeeded=True)

    assert len(site.alerts) == 1
    assert site.kinds(user=5) == site.kinds(user="5") == ["suspicious", "login_succeeded"]
    assert "login_failed" in site.kinds(user=0)


def test_how_long_events_are_kept_may_be_a_text() -> None:
    """As the times of rules."""
    site = Site(keep_seconds="1h")
    site.fail()
    site.wait(3599)
    assert site.kinds() == ["login_failed"]
    site.wait(2)
    assert site.kinds() == []


def test_a_block_is_told_once_while_it_lasts() -> None:
    """And again the next time."""
    site = Site()
    site.fail(50)
    assert [(alert.text, alert.block_seconds) for alert in site.alerts] == [
        (f"{CLIENT} is blocked for 10 min: login_failed 3 times within 15 min", 600)
    ]
    site.wait(15 * MINUTE)
    site.fail(3)
    assert len(site.alerts) == 2


def test_a_client_can_be_let_in_again() -> None:
    """By an operator who knows better; it begins anew, and so does what is told."""
    site = Site()
    site.fail(3)
    site.monitor.unblock(CLIENT)
    assert not site.monitor.is_blocked(CLIENT)
    site.fail(2)
    assert not site.monitor.is_blocked(CLIENT)
    site.fail()
    assert site.monitor.is_blocked(CLIENT)
    assert len(site.alerts) == 2


def test_all_workers_are_one() -> None:
    """What one notes, another acts on; and it outlives the worker that noted it."""
    site = Site()
    assert status_of(fork(lambda: site.fail(3))) == 0

    other = site.open(rules=RULES)
    assert site.monitor.is_blocked(CLIENT) == other.is_blocked(CLIENT) == 600
    assert [event.kind for event in other.events()] == ["blocked", *["login_failed"] * 3]
    assert other.statistics() == site.monitor.statistics()


def test_users_are_kept_as_pseudonyms() -> None:
    """The same one each time; the name finds its events all the same."""
    site = Site()
    site.fail(2, user="ann")
    site.fail(1, user="hunter2", client=OTHER)

    shown = {event.user for event in site.monitor.events(user="ann")}
    assert len(shown) == 1
    assert shown != {"ann"}
    assert "hunter2" not in str(site.monitor.events())
    assert len(site.monitor.events(user=shown.pop())) == 2


def test_users_can_be_kept_by_name() -> None:
    """Where it is asked for."""
    site = Site(show_users=True)
    site.fail()

    assert [event.user for event in site.monitor.events()] == ["ann"]


def test_a_list_can_be_narrowed() -> None:
    """By kind, by client, and to so many."""
    site = Site()
    site.fail(2)
    site.fail(1, client="2001:db8:1:2::5")
    site.monitor.attempt(OTHER, succeeded=True)

    assert len(site.monitor.events()) == 4
    assert len(site.monitor.events(limit=2)) == 2
    assert site.kinds(kind="login_succeeded") == ["login_succeeded"]
    assert len(site.monitor.events(client="2001:db8:1:2::99")) == 1


def test_an_ipv6_client_is_its_network() -> None:
    """Who has one address there has them all."""
    site = Site()
    for number in range(3):
        site.fail(1, client=f"2001:db8:1:2::{number + 1}")

    assert site.monitor.is_blocked("2001:db8:1:2:ffff::1")
    assert not site.monitor.is_blocked("2001:db8:1:3::1")


def test_clients_without_an_address_are_not_blocked(caplog: pytest.LogCaptureFixture) -> None:
    """Behind a socket they are one, and one could have all the others blocked. It is said once."""
    site = Site()
    nameless: dict[str, Any] = {"type": "http", "client": None, "headers": []}
    site.fail(9, client=nameless)

    assert not site.monitor.is_blocked(nameless)
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "a client without an address is not blocked"
    ]


def test_blocking_what_may_be_a_proxy_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """It is blocked, since anybody can send that header."""
    site = Site()
    scope = {
        "type": "http",
        "client": (CLIENT, 4711),
        "headers": [(b"x-forwarded-for", b"1.2.3.4")],
    }
    site.fail(3, client=scope)

    assert site.monitor.is_blocked(CLIENT)
    assert "set --proxy-hops" in caplog.text


@pytest.mark.parametrize(
    ("source", "address"),
    [
        (CLIENT, CLIENT),
        ({"type": "http", "client": (CLIENT, 1)}, CLIENT),
        ({"type": "http", "client": ("unknown", 0), "tonnage.peer": (OTHER, 1)}, OTHER),
        ({"type": "http", "client": None}, ""),
        ({"REQUEST_METHOD": "GET", "REMOTE_ADDR": CLIENT}, CLIENT),
        ({"REQUEST_METHOD": "GET", "REMOTE_ADDR": "_", "tonnage.peer": (OTHER, 1)}, OTHER),
        ({"REQUEST_METHOD": "GET"}, ""),
        (SimpleNamespace(scope={"type": "http", "client": (CLIENT, 1)}), CLIENT),
        (SimpleNamespace(environ={"REQUEST_METHOD": "GET", "REMOTE_ADDR": CLIENT}), CLIENT),
    ],
)
def test_a_client_is_an_address_or_a_request_of_any_framework(source: Any, address: str) -> None:
    """Behind proxies it is what the server makes of it."""
    assert address_of(source) == address
    assert Client(Clients(b"secret"), source).address == address


def test_anything_else_is_no_client() -> None:
    """As None, where a request was meant."""
    with pytest.raises(TypeError, match="NoneType is neither an address nor a request"):
        Site().monitor.check(None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Rule("login_failed", failures=0, within="15m"),
        lambda: Rule("login_failed", failures=3, within="soon"),
        lambda: Rule("login_failed", failures=3, within="15m", block="0"),
        lambda: Rule("login_failed", failures=3, within="15m", by="all"),  # type: ignore[arg-type]
        lambda: SecurityMonitor(keep=0),
        lambda: SecurityMonitor(keep=MOST_KEPT + 1),
        lambda: SecurityMonitor(keep_seconds=0),
        lambda: SecurityMonitor(rules=RULES * (MOST_RULES + 1)),
        lambda: SecurityMonitor(keep_seconds="soon"),
        lambda: SecurityMonitor(rules=["x"]),  # type: ignore[list-item]
        lambda: SecurityMonitor(rules=RULES[0]),  # type: ignore[arg-type]
        lambda: Rule("login_failed", failures=1.5, within="15m"),  # type: ignore[arg-type]
        lambda: Rule("login_failed", failures=3, within="15m", block=True),
        lambda: Rule("login_failed", failures=3, within="400d"),
    ],
)
def test_figures_without_sense_are_refused(make: Callable[[], object]) -> None:
    """When they are given."""
    with pytest.raises(ConfigError):
        make()


def test_a_rule_without_sense_is_refused_in_its_own_words() -> None:
    """Nothing of rates and requests, which nobody has written."""
    with pytest.raises(ConfigError, match=r"^failures=0 makes no sense: write a whole number"):
        Rule("login_failed", failures=0, within="15m")
    with pytest.raises(ConfigError, match=r"^within=0 makes no sense: write for example 15m"):
        Rule("login_failed", failures=3, within=0)


def test_the_defaults_are_those_of_the_docstring() -> None:
    """Five failed log-ins block for a quarter of an hour; the menu has the class."""
    assert tonnage.SecurityMonitor is SecurityMonitor
    monitor = tonnage.SecurityMonitor()
    for _ in range(4):
        monitor.attempt(CLIENT, user="ann", succeeded=False)
    assert not monitor.is_blocked(CLIENT)
    monitor.attempt(CLIENT, user="ann", succeeded=False)
    assert 899 < monitor.is_blocked(CLIENT) <= 900


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Yield what the supervisor is told."""
    texts: list[str] = []
    alarm.use(lambda text, fields: texts.append(text))
    yield texts
    alarm.use(None)


def test_an_alert_is_logged_and_told_to_the_supervisor(
    told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """One a second at most; how many there were besides is said in the next."""
    now = [0.0]
    pace = alarm.Pace(1.0, clock=lambda: now[0])
    for text in ("first", "second", "third"):
        pace.tell(text, {})
    now[0] = 1.0
    pace.tell("fourth", {})

    assert told == ["first", "fourth (and 2 more before it)"]
    assert [record.message for record in caplog.records] == [f"security: {text}" for text in told]


def test_an_alert_that_fails_leaves_the_attempt_noted(caplog: pytest.LogCaptureFixture) -> None:
    """What the application does with it is its own affair."""

    def fail(alert: SecurityAlert) -> None:
        raise RuntimeError("no mail today")

    site = Site(on_alert=fail)
    with caplog.at_level(logging.ERROR):
        site.fail(3)

    assert site.monitor.is_blocked(CLIENT)
    assert "no mail today" in caplog.text


def test_a_flood_of_addresses_takes_no_memory_and_forgets_no_block() -> None:
    """A hundred thousand clients that fail once each; the tables are what they were."""
    site = Site()
    site.fail(3)
    chance = random.Random(11)
    note = site.monitor.attempt
    for _ in range(20_000):
        note(f"10.{chance.getrandbits(8)}.{chance.getrandbits(8)}.1", succeeded=False, user="ann")

    assert site.monitor.is_blocked(CLIENT) == 600
    assert site.monitor.statistics().blocked_now <= MOST_BLOCKS
    assert site.monitor.statistics().kept == 1000


def test_threads_may_all_note_at_once() -> None:
    """Nothing is lost of what is kept."""
    site = Site(rules=())
    threads = [threading.Thread(target=site.fail, args=(100,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(site.monitor.events(limit=1000)) == site.monitor.statistics().failed == 400
