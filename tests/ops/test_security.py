"""Security events as operators are told of them, by a worker and by the supervisor alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tonnage.ops.security import MOST_LISTED, answer_events
from tonnage.server.conversation import LONGEST_ANSWER_BYTES
from tonnage.stores.security.monitor import SecurityMonitor

CLIENT, OTHER = "203.0.113.7", "2001:db8:1:2::5"


pytestmark = pytest.mark.usefixtures("own_commons")


@pytest.fixture
def monitor(own_commons: None) -> SecurityMonitor:
    """Return a monitor with some events."""
    monitor = SecurityMonitor()
    for _ in range(6):
        monitor.attempt(CLIENT, user="ann", succeeded=False)
    monitor.attempt(OTHER, user="bob", succeeded=True, detail="with 2FA")
    return monitor


def ask(query: str = "", *, trusted: bool = True) -> tuple[int, Any]:
    """Return status and JSON."""
    answer = answer_events(query, trusted=trusted)
    assert answer is not None
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("trusted", [True, False])
def test_without_a_monitor_nothing_is_there(trusted: bool) -> None:
    """So the path is the application's, or 404."""
    assert answer_events("", trusted=trusted) is None


@pytest.mark.usefixtures("monitor")
def test_events_are_for_operators() -> None:
    """Others are told how to become one."""
    status, body = ask(trusted=False)

    assert (status, body["error"]) == (403, "forbidden")
    assert "events" not in body


@pytest.mark.usefixtures("monitor")
def test_the_newest_comes_first_with_what_was_counted() -> None:
    """In all workers, since the server has started."""
    status, body = ask()

    assert status == 200
    assert [event["kind"] for event in body["events"]] == [
        "login_succeeded",
        "blocked",
        *["login_failed"] * 5,
    ]
    assert body["events"][0] | {"time": "", "user": ""} == {
        "number": 7,
        "time": "",
        "kind": "login_succeeded",
        "client": OTHER,
        "user": "",
        "detail": "with 2FA",
    }
    assert body["statistics"] == {
        "failed": 6,
        "succeeded": 1,
        "suspicious": 0,
        "blocked": 1,
        "alerts": 1,
        "left_out": 1,
        "refused": 0,
        "forgotten": 0,
        "blocked_now": 1,
    }


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("limit=2", [7, 6]),
        ("kind=login_failed", [5, 4, 3, 2, 1]),
        ("kind=login_failed&limit=2&before=4", [3, 2]),
        ("client=203.0.113.7&kind=blocked", [6]),
        ("client=2001:db8:1:2::99", [7]),
        ("user=ann&limit=1", [5]),
        ("user=nobody", []),
    ],
)
@pytest.mark.usefixtures("monitor")
def test_a_list_can_be_narrowed(query: str, numbers: list[int]) -> None:
    """By kind, client and user; in parts."""
    assert [event["number"] for event in ask(query)[1]["events"]] == numbers


@pytest.mark.parametrize(
    "query",
    ["limit=0", f"limit={MOST_LISTED + 1}", "limit=many", "before=0", "kind=a&kind=b", "x=1"],
)
@pytest.mark.usefixtures("monitor")
def test_a_query_without_sense_is_refused(query: str) -> None:
    """With what to write."""
    status, body = ask(query)

    assert (status, body["error"]) == (400, "bad_request")
    assert body["detail"]


def test_the_longest_list_fits_into_an_answer_of_the_supervisor() -> None:
    """Full of texts that take most room as JSON."""
    monitor = SecurityMonitor(rules=(), show_users=True)
    for _ in range(MOST_LISTED):
        monitor.suspicious("\\" * 48, '"' * 200, user="\\" * 48)
    answer = answer_events(f"limit={MOST_LISTED}", trusted=True)

    assert answer is not None
    assert answer.status == 200
    assert len(answer.body) <= LONGEST_ANSWER_BYTES
