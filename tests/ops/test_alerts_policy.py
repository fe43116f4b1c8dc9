"""What is decided about alerts: a table of times and answers is the whole test."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest

from tonnage.host.channel import LONGEST_BYTES
from tonnage.ops.alertpolicy import (
    CRITICAL,
    LONGEST_TEXT_CHARS,
    MOST_KINDS,
    MOST_WAITING,
    RESOLVED,
    WORKER_DIED,
    Alert,
    Outbox,
    Patience,
    RateLimit,
    Verdict,
    judge,
    make_alert,
    pause_seconds,
    retry_after_seconds,
)
from tonnage.ops.alertsender import SENDERS

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)


def an_alert(kind: str = WORKER_DIED, text: str = "it died", id: str = "1") -> Alert:
    """Return an alert."""
    return make_alert(kind, text, {}, id=id, now_seconds=100.0)


def test_the_first_of_a_kind_is_sent_and_the_next_is_held_back() -> None:
    """Another kind has a pace of its own."""
    limit = RateLimit(300.0)

    assert limit.admit(an_alert(), 100.0) is not None
    assert limit.admit(an_alert(), 399.0) is None
    assert limit.admit(an_alert(CRITICAL), 399.0) is not None


def test_what_was_held_back_is_counted_by_the_next() -> None:
    """So that nobody takes three deaths for one."""
    limit = RateLimit(300.0)
    limit.admit(an_alert(), 100.0)
    for moment in (110.0, 120.0, 130.0):
        limit.admit(an_alert(), moment)

    sent = limit.admit(an_alert(text="a fifth"), 400.0)

    assert sent is not None
    assert (sent.text, sent.more) == ("a fifth", 3)


def test_the_newest_held_back_is_sent_when_its_time_has_come() -> None:
    """Also where no other follows; once, and then it is quiet again."""
    limit = RateLimit(300.0)
    for moment, text in ((100.0, "first"), (110.0, "second"), (120.0, "third")):
        limit.admit(an_alert(text=text), moment)

    assert limit.due(399.0) == []
    (sent,) = limit.due(400.0)
    assert (sent.text, sent.more) == ("third", 1)
    # The time there is for its delivery begins only now.
    assert sent.since_seconds == 400.0
    assert limit.due(401.0) == []
    assert limit.admit(an_alert(), 500.0) is None


def test_an_interval_of_nothing_holds_nothing_back() -> None:
    """``--alert-seconds 0`` sends all."""
    limit = RateLimit(0.0)
    assert all(limit.admit(an_alert(), 100.0) for _ in range(5))


def test_the_end_of_a_state_is_sent_at_once_if_its_beginning_was() -> None:
    """And only once: who was told of trouble is told that it is over."""
    limit = RateLimit(300.0)
    limit.admit(an_alert(CRITICAL), 100.0)

    assert limit.admit(an_alert(RESOLVED), 101.0) is not None
    assert limit.admit(an_alert(RESOLVED), 102.0) is None


def test_the_end_of_a_state_takes_back_a_beginning_that_was_held_back() -> None:
    """A level that flaps sends one pair in each interval, never an end without its beginning."""
    limit = RateLimit(300.0)
    limit.admit(an_alert(CRITICAL), 100.0)
    limit.admit(an_alert(RESOLVED), 101.0)

    assert limit.admit(an_alert(CRITICAL), 102.0) is None
    assert limit.admit(an_alert(RESOLVED), 103.0) is None
    assert limit.due(400.0) == []
    again = limit.admit(an_alert(CRITICAL), 401.0)
    assert again is not None
    assert again.more == 1


def test_a_state_that_lasts_is_told_of_although_it_began_too_soon() -> None:
    """Else the last word would have been that all is well."""
    limit = RateLimit(300.0)
    limit.admit(an_alert(CRITICAL), 100.0)
    limit.admit(an_alert(RESOLVED), 101.0)
    limit.admit(an_alert(CRITICAL, "it lasts"), 102.0)

    assert [(alert.text, alert.more) for alert in limit.due(400.0)] == [("it lasts", 0)]
    assert limit.admit(an_alert(RESOLVED), 401.0) is not None


def test_an_end_without_a_beginning_is_not_sent() -> None:
    """Nobody was worried."""
    assert RateLimit(300.0).admit(an_alert(RESOLVED), 100.0) is None


def test_the_kinds_remembered_are_bounded() -> None:
    """The one known longest is forgotten for a new one."""
    limit = RateLimit(300.0)
    for number in range(MOST_KINDS + 1):
        limit.admit(an_alert(f"kind {number}"), 100.0)

    assert limit.admit(an_alert("kind 0"), 101.0) is not None
    assert limit.admit(an_alert(f"kind {MOST_KINDS}"), 101.0) is None


def test_a_full_outbox_drops_the_oldest_of_the_commonest_kind() -> None:
    """The one CRITICAL among many deaths stays."""
    outbox = Outbox()
    outbox.add(an_alert(CRITICAL, id="critical"))
    for number in range(MOST_WAITING - 1):
        assert outbox.add(an_alert(id=str(number))) is None

    dropped = outbox.add(an_alert(id="one too many"))

    assert dropped is not None
    assert dropped.id == "0"
    assert len(outbox) == MOST_WAITING
    assert [alert.id for alert in outbox][:2] == ["critical", "1"]


def test_settling_what_is_not_there_is_harmless() -> None:
    """The other side may tell of an alert that had to go."""
    outbox = Outbox()
    outbox.add(an_alert(id="1"))

    assert [outbox.settle("1"), outbox.settle("1")] == [True, False]
    assert outbox.first() is None


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (302, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (408, Verdict.RETRY),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (503, Verdict.RETRY),
    ],
)
def test_what_an_answer_means(status: int, verdict: Verdict) -> None:
    """What may pass is tried again, a mistake of ours is not, a redirect is not followed."""
    assert judge(status) is verdict


def test_pauses_double_up_to_a_minute() -> None:
    """Jitter takes away up to half."""
    pauses = [pause_seconds(failures, Patience(), jitter=0.0) for failures in range(1, 9)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pause_seconds(5000, Patience(), jitter=1.0) == 30.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17", 17.0),
        (" 0 ", 0.0),
        ("Sun, 22 Nov 2026 05:02:00 GMT", 120.0),
        ("Sun, 22 Nov 2026 04:00:00 GMT", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("Sun, 99 Nov 2026 05:02:00 GMT", 0.0),
        ("Sun, 22 Nov 99999999999999999999 05:02:00 GMT", 0.0),
        ("", 0.0),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    """Seconds or a date; what makes no sense asks for nothing."""
    assert retry_after_seconds(value, NOW) == seconds


def test_the_level_has_a_place_of_its_own() -> None:
    """It is taken out of the fields."""
    alert = make_alert(CRITICAL, "full", {"level": "CRITICAL", "used": 480}, id="1", now_seconds=0)
    assert (alert.level, alert.fields) == ("CRITICAL", {"used": 480})


def test_fields_hold_only_what_json_can() -> None:
    """Everything else becomes text: telling people must not fail for its form."""
    endless: list[Any] = []
    endless.append(endless)
    fields = {"path": NOW, "ratio": float("nan"), "endless": endless, "list": [1, {"a": None}]}

    alert = make_alert(WORKER_DIED, "it died", fields, id="1", now_seconds=0)

    assert alert.fields == {
        "path": str(NOW),
        "ratio": "nan",
        "endless": "[[...]]",
        "list": [1, {"a": None}],
    }


@pytest.mark.parametrize("character", ["x", "é", "\U0001f4a5", '"'])
def test_the_longest_alert_fits_into_a_message(character: str) -> None:
    """Text is cut, and fields that do not fit are left out, whatever they are written with."""
    fields = {f"{number}{character * 20}": character * 100 for number in range(200)}
    alert = make_alert(WORKER_DIED, character * 5000, fields, id="1", now_seconds=0)

    assert len(json.dumps({"kind": "Alert", **asdict(alert)})) <= LONGEST_BYTES
    assert alert.text.startswith(character * LONGEST_TEXT_CHARS)
    assert alert.text.endswith("[...]")


def test_an_alert_survives_its_way_between_processes() -> None:
    """With whatever fields it has."""
    ours, theirs = SENDERS.pair()
    alert = make_alert(CRITICAL, "full", {"level": "CRITICAL", "used": 4}, id="7", now_seconds=9.5)
    with closing(ours), closing(theirs):
        assert ours.send(alert)
        assert theirs.receive() == (alert, [])
