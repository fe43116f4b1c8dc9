"""The sender's loop: order, retries, losses; what posts is handed in, nothing is sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tonnage.ops.alertpolicy import CRITICAL, MOST_WAITING, WORKER_DIED, Patience, make_alert
from tonnage.ops.alertpolicy import Alert as AlertRecord
from tonnage.ops.alertsender import SENDERS, Finish, Sender
from tonnage.ops.webhook import Reply

QUICK = Patience(first_pause_seconds=0.004, longest_pause_seconds=0.008, give_up_seconds=0.1)


Said = Callable[[], list[str]]


class Office:
    """A sender, the supervisor's end of its channel, and a receiver that answers as told."""

    def __init__(self, patience: Patience = QUICK) -> None:
        self.ours, theirs = SENDERS.pair()
        for end in (self.ours, theirs):
            end.setblocking(False)
        self.theirs = theirs
        self.answers: list[Reply | OSError] = []
        self.posted: list[str] = []
        self.moments: list[float] = []
        self.sender = Sender(theirs, self.post, where="https://example.org", patience=patience)

    def post(self, alert: AlertRecord, timeout_seconds: float) -> Reply:
        """Note what was sent; the last answer is given for ever."""
        self.posted.append(alert.id)
        self.moments.append(time.monotonic())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer

    def run(self, *alerts: AlertRecord) -> list[tuple[str, bool]]:
        """Have *alerts* sent, then stop; return what became of each."""
        for alert in alerts:
            assert self.ours.send(alert)
        assert self.ours.send(Finish(within_seconds=2.0))
        self.sender.run()
        return [(settled.id, settled.delivered) for settled in self.ours.messages()]

    def close(self) -> None:
        """Close the channel."""
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def office() -> Iterator[Office]:
    """Yield an office whose receiver takes everything."""
    with closing(Office()) as office:
        office.answers = [Reply(200)]
        yield office


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Said]:
    """Yield what returns all that was logged so far."""
    logger = logging.getLogger("tonnage.alerts")
    # Where logging was configured, records do not reach the root logger, where caplog listens.
    logger.addHandler(caplog.handler)
    yield lambda: list(dict.fromkeys(caplog.messages))
    logger.removeHandler(caplog.handler)


def an_alert(id: str, kind: str = WORKER_DIED) -> AlertRecord:
    """Return an alert of now."""
    return make_alert(kind, f"number {id}", {}, id=id, now_seconds=time.monotonic())


def test_alerts_are_sent_in_order(office: Office) -> None:
    """And each is reported as delivered."""
    assert office.run(an_alert("1"), an_alert("2")) == [("1", True), ("2", True)]
    assert office.posted == ["1", "2"]


def test_the_first_is_tried_again_before_the_second(office: Office, said: Said) -> None:
    """None overtakes, and the log says once that there is trouble."""
    office.answers = [Reply(500), ConnectionRefusedError(111, "Connection refused"), Reply(200)]

    assert office.run(an_alert("1"), an_alert("2")) == [("1", True), ("2", True)]

    assert office.posted == ["1", "1", "1", "2"]
    (message,) = said()
    assert "could not be sent to https://example.org: it answered 500" in message


def test_each_outage_is_logged_and_waited_for_anew(office: Office, said: Said) -> None:
    """What was delivered ends the one before."""
    office.answers = [Reply(500), Reply(500), Reply(200), Reply(500), Reply(200)]

    office.run(an_alert("1"), an_alert("2", CRITICAL))

    assert ["worker.died" in said()[0], "memory.critical" in said()[1]] == [True, True]
    assert len(said()) == 2


def test_a_refusal_is_not_tried_again(office: Office, said: Said) -> None:
    """It is lost, and the log holds what it would have said."""
    office.answers = [Reply(404), Reply(200)]

    assert office.run(an_alert("1"), an_alert("2")) == [("1", False), ("2", True)]

    assert office.posted == ["1", "2"]
    assert "it answered 404; worker.died: number 1" in said()[0]


def test_an_alert_is_given_up_in_the_end(office: Office, said: Said) -> None:
    """After the time that there is for it."""
    office.answers = [TimeoutError("no answer in time")]

    assert office.run(an_alert("1")) == [("1", False)]

    assert len(office.posted) > 3
    assert "an alert is lost" in said()[-1]
    assert "no answer in time" in said()[-1]


def test_retry_after_is_honoured() -> None:
    """A pause that the receiver asks for is longer than our own would be."""
    with closing(Office(Patience(first_pause_seconds=0.004))) as office:
        office.answers = [Reply(429, "1"), Reply(200)]
        assert office.run(an_alert("1")) == [("1", True)]

    first, second = office.moments
    assert 1.0 <= second - first < 1.5


def test_a_retry_after_beyond_all_time_gives_up_at_once(office: Office) -> None:
    """Rather than keeping the others behind it."""
    office.answers = [Reply(503, "86400")]
    assert office.run(an_alert("1")) == [("1", False)]
    assert office.posted == ["1"]


def test_too_many_waiting_are_dropped_and_told_of(office: Office, said: Said) -> None:
    """The supervisor hears that they are lost."""
    alerts = [an_alert("critical", CRITICAL)]
    alerts += [an_alert(str(number)) for number in range(MOST_WAITING)]

    settled = office.run(*alerts)

    assert settled[0] == ("0", False)
    assert settled[1] == ("critical", True)
    assert len(settled) == MOST_WAITING + 1
    assert "too many others wait" in said()[0]


def test_it_ends_with_the_channel(office: Office) -> None:
    """Without the supervisor there is nobody to work for."""
    office.ours.close()
    office.sender.run()
    assert office.posted == []
