"""Limits of rates: for whom they are, what responses say, and the 429."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tonnage.errors import ConfigError
from tonnage.problem import Problem
from tonnage.rates.gcra import Rate
from tonnage.rates.limits import Limit, LimitsLike, parse_limits
from tonnage.rates.table import RateTable
from tonnage.web.path.ratelimit import RateLimiter
from tonnage.web.respond import Scope

SECOND = 1_000_000_000


class Site:
    """A limiter with a table of its own, and the time."""

    def __init__(self, limits: LimitsLike, **options: Any) -> None:
        self.now_ns = 1_000 * SECOND
        self.limiter = RateLimiter(
            limits, **{"store": RateTable(keys=1024), "clock": lambda: self.now_ns, **options}
        )

    def ask(self, client: str = "203.0.113.7", **headers: str) -> Problem | dict[str, str]:
        """Return the 429, or the headers of the response."""
        said = self.limiter.check(request(client, **headers))
        if isinstance(said, Problem):
            return said
        return {name.decode(): value.decode() for name, value in said}

    def allows(self, client: str = "203.0.113.7", **headers: str) -> bool:
        """Return whether a request is let in."""
        return not isinstance(self.ask(client, **headers), Problem)


def request(client: str = "203.0.113.7", **headers: str) -> Scope:
    """Return the scope of a request."""
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "client": (client, 4711), "headers": named}


def user(scope: Scope) -> str | None:
    """Return whom a header names."""
    return dict(scope["headers"]).get(b"user", b"").decode() or None


def refused(answer: Problem | dict[str, str]) -> Problem:
    """Return *answer*, which is to be the 429."""
    assert isinstance(answer, Problem)
    return answer


def test_responses_say_what_is_left_and_for_how_long() -> None:
    """In the draft's own syntax: quota and window, remaining and time."""
    site = Site("3/30s")

    assert [site.ask() for _ in range(3)] == [
        {"ratelimit-policy": '"default";q=3;w=30', "ratelimit": '"default";r=2;t=10'},
        {"ratelimit-policy": '"default";q=3;w=30', "ratelimit": '"default";r=1;t=20'},
        {"ratelimit-policy": '"default";q=3;w=30', "ratelimit": '"default";r=0;t=10'},
    ]


def test_one_too_many_is_told_when_to_come_again() -> None:
    """With 429, Retry-After, and a body that says which limit it was."""
    site = Site("3/30s")
    for _ in range(3):
        site.ask()
    site.now_ns += 2 * SECOND

    problem = refused(site.ask())

    assert (problem.status, problem.error) == (429, "rate_limited")
    assert problem.detail == "the limit of 3/30s is reached; try again in 8 s"
    assert dict(problem.extra) == {"retryAfter": 8, "violated-policies": ["default"]}
    assert dict(problem.headers) == {
        b"ratelimit-policy": b'"default";q=3;w=30',
        b"ratelimit": b'"default";r=0;t=8',
        b"retry-after": b"8",
    }
    assert site.limiter.refused == 1
    site.now_ns += 8 * SECOND
    assert site.allows()


def test_addresses_count_apart() -> None:
    """One client's requests are not another's."""
    site = Site("1/1m")

    assert [site.allows("203.0.113.7"), site.allows("203.0.113.7")] == [True, False]
    assert site.allows("203.0.113.8")


def test_rules_count_apart() -> None:
    """A route's own limit, also of the same rate, is not used up by other routes."""
    table = RateTable()
    default = Site("1/1m", store=table)
    photos = Site("1/1m", store=table, name="POST /photos")

    assert default.allows()
    assert photos.allows()
    assert not default.allows()
    said = refused(photos.ask()).headers
    assert (b"ratelimit", b'"POST /photos";r=0;t=60') in said


def test_limiters_of_one_rule_count_together() -> None:
    """As in workers that share the table."""
    table = RateTable()

    assert Site("1/1m", store=table).allows()
    assert not Site("1/1m", store=table).allows()


def test_a_header_can_be_what_counts() -> None:
    """Whatever address it comes from; without it, the address counts."""
    site = Site("1/1m by header:X-Api-Key")

    assert site.allows("203.0.113.7", x_api_key="mine")
    assert not site.allows("203.0.113.8", x_api_key="mine")
    assert site.allows("203.0.113.7", x_api_key="yours")
    assert site.allows("203.0.113.9")
    assert not site.allows("203.0.113.9", x_api_key="")


def test_a_function_can_say_who_counts() -> None:
    """And None: nobody, so that nothing is counted or said."""

    site = Site(Limit("1/1m", key=user, name="users"))

    assert site.allows(user="ann")
    assert not site.allows(user="ann")
    assert site.allows(user="bob")
    assert [site.ask(), site.ask()] == [{}, {}]


def test_the_tightest_of_several_limits_answers() -> None:
    """All are listed; what is left is said of the one that leaves least."""
    site = Site("10/10s, 4/1m by header:x-api-key", name="api")

    one, other = '"api 10/10s"', '"api 4/1m by header:x-api-key"'
    assert site.ask(x_api_key="mine") == {
        "ratelimit-policy": f"{one};q=10;w=10, {other};q=4;w=60",
        "ratelimit": f"{other};r=3;t=15",
    }


def test_what_one_limit_refuses_counts_for_none() -> None:
    """A client that is refused for its key has not used up its address."""
    site = Site(["3/1h", Limit("1/1h", key="header:x-api-key")])

    assert site.allows(x_api_key="mine")
    assert [site.allows(x_api_key="mine") for _ in range(20)] == [False] * 20
    assert [site.allows(x_api_key=key) for key in ("a", "b", "c")] == [True, True, False]


def test_the_longest_wait_is_told_when_several_refuse() -> None:
    """Or the client would come again to be refused by the other."""
    site = Site([Limit("1/10s", name="burst"), Limit("1/1h", name="hourly")])
    site.ask()

    problem = refused(site.ask())

    assert problem.extra["retryAfter"] == 3600
    assert problem.extra["violated-policies"] == ["burst", "hourly"]


def test_no_limit_for_this_request_among_several() -> None:
    """Nothing is said then."""
    site = Site([Limit("1/1s", key=lambda _: None), Limit("1/1h", key=lambda _: None)])

    assert site.ask() == {}


def test_names_are_strings_of_structured_fields() -> None:
    """Whatever a path has in it."""
    site = Site("5/1s", name='GET /50%/"ü"\\')

    said = site.ask()

    assert isinstance(said, dict)
    assert said["ratelimit"] == '"GET /50%/\\"?\\"\\\\";r=4;t=1'


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("100/15m", ["100/15m"]),
        ("10/1s, 100/15m", ["10/1s", "100/15m"]),
        (["10/1s", Limit("100/15m", burst=5)], ["10/1s", "100/15m burst 5"]),
        (Rate(20, 3600), ["20/1h"]),
        (Limit("20/1h", key="header: Authorization "), ["20/1h by header:authorization"]),
        (["1/1s, 2/1m by ip"], ["1/1s", "2/1m"]),
        (Limit("20/1h", key=user), ["20/1h by user"]),
    ],
)
def test_limits_are_written_in_several_ways(given: LimitsLike, expected: list[str]) -> None:
    """One or several, as text or as objects."""
    assert [str(limit) for limit in parse_limits(given)] == expected


@pytest.mark.parametrize(
    "text", ["", "100/15m,", "1/1m by user", "1/1m by header:", "1/1m by header:two words"]
)
def test_what_is_no_limit_is_refused_with_a_message(text: str) -> None:
    """When the application starts, not at its first request."""
    with pytest.raises(ConfigError, match="for example"):
        parse_limits(text)


def test_a_proxy_that_may_have_been_refused_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All its clients count as one as long as nobody says that it is there."""
    site = Site("1/1h")
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            site.ask(x_forwarded_for="198.51.100.1")

    assert [("--proxy-hops" in record.message) for record in caplog.records] == [True]
    assert site.limiter.refused == 4


@pytest.mark.parametrize(
    "scope",
    [
        {**request(x_forwarded_for="198.51.100.1"), "tonnage.peer": ("10.0.0.1", 4711)},
        {**request(x_forwarded_for="198.51.100.1"), "client": ("198.51.100.1", 0)},
        request(),
    ],
)
def test_a_refused_client_is_not_logged(scope: Scope, caplog: pytest.LogCaptureFixture) -> None:
    """It would be a line for each request of a flood."""
    site = Site("1/1h")
    with caplog.at_level(logging.WARNING):
        site.limiter.check(scope)
        site.limiter.check(scope)

    assert site.limiter.refused == 1
    assert caplog.records == []
