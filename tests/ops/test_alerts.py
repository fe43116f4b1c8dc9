"""Alerts from the supervisor's handle to a receiver, with the real process in between."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from tests.ops.receiver import Receiver, receiving, reports
from tests.support.forking import fork
from tests.support.waiting import Ends, await_true

from tonnage.budget.sizes import ALERTER_BYTES
from tonnage.errors import ConfigError
from tonnage.ops.alertpolicy import CRITICAL, MOST_WAITING, RESOLVED, WORKER_DIED, Patience
from tonnage.ops.alerts import Alerter
from tonnage.settings import ReportSettings
from tonnage.units import MIB

pytestmark = [
    pytest.mark.real,
    # The receiver is a thread of this process; the supervisor has none.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

QUICK = Patience(
    timeout_seconds=2.0,
    first_pause_seconds=0.01,
    longest_pause_seconds=0.05,
    give_up_seconds=20.0,
    restart_seconds=0.1,
)
STANDARD = frozenset((0, 1, 2))

Starter = Callable[..., Alerter]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Yield a receiver that takes everything."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def start() -> Iterator[Starter]:
    """Yield what starts a sender; it ends with the test."""
    with ExitStack() as stack:

        def start(settings: ReportSettings, patience: Patience = QUICK) -> Alerter:
            alerter = Alerter.start(settings, "api", STANDARD, patience=patience)
            stack.callback(alerter.close, 0.0)
            return alerter

        yield start


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """Yield what returns the lines that the supervisor's side has logged, with their levels."""
    logger = logging.getLogger("tonnage.alerts")
    caplog.set_level(logging.INFO, "tonnage.alerts")
    logger.addHandler(caplog.handler)
    yield lambda: [f"{each.levelname} {each.getMessage()}" for each in caplog.records]
    logger.removeHandler(caplog.handler)


def await_delivered(alerter: Alerter, count: int) -> None:
    """Do what the supervisor's loop does until *count* alerts are known to have arrived."""

    def is_delivered() -> bool:
        alerter.tick(time.monotonic())
        return alerter.statistics().delivered >= count

    await_true(is_delivered, f"{count} delivered alerts")


def reaped(pid: int) -> int:
    """Wait for the end of our child *pid*, as the supervisor does; return its number."""
    return os.waitpid(pid, 0)[0]


def test_an_alert_arrives_as_json(receiver: Receiver, start: Starter) -> None:
    """With the server's name, the level and the fields."""
    alerter = start(reports(receiver.url))

    alerter.alert(CRITICAL, "used 471 MB of 512 MB", {"level": "CRITICAL", "used_bytes": 5})
    await_delivered(alerter, 1)

    (got,) = receiver.got
    assert (got["event"], got["level"], got["server"]) == ("memory.critical", "CRITICAL", "api")
    assert (got["text"], got["fields"]) == ("used 471 MB of 512 MB", {"used_bytes": 5})


def test_an_alert_arrives_as_slack_wants_it(receiver: Receiver, start: Starter) -> None:
    """One text."""
    alerter = start(reports(receiver.url, alert_format="slack"))

    alerter.alert(WORKER_DIED, "worker 0 was killed", {"route": "GET /report"})
    await_delivered(alerter, 1)

    (got,) = receiver.got
    assert list(got) == ["text"]
    assert got["text"].endswith("worker 0 was killed\nroute: GET /report")


def test_a_failing_receiver_is_tried_again(receiver: Receiver, start: Starter) -> None:
    """Until it takes the alert, and with the same id each time."""
    receiver.statuses = [500, 503]
    alerter = start(reports(receiver.url))

    alerter.alert(WORKER_DIED, "it died", {})
    await_delivered(alerter, 1)

    assert len(receiver.got) == 3
    assert len({got["id"] for got in receiver.got}) == 1


def test_a_refusal_is_not_tried_again(receiver: Receiver, start: Starter) -> None:
    """What follows it is sent."""
    receiver.statuses = [400]
    alerter = start(reports(receiver.url))

    alerter.alert(WORKER_DIED, "first", {})
    alerter.alert(WORKER_DIED, "second", {})
    await_delivered(alerter, 1)

    assert receiver.texts == ["first", "second"]
    assert alerter.statistics().lost == 1


def test_alerts_of_a_kind_are_held_back_and_counted(receiver: Receiver, start: Starter) -> None:
    """Many deaths are two messages, and the end of CRITICAL is not held back."""
    alerter = start(reports(receiver.url, alert_seconds=300.0))

    alerter.alert(CRITICAL, "full", {})
    for number in range(5):
        alerter.alert(WORKER_DIED, f"death {number}", {})
    alerter.alert(RESOLVED, "well again", {})
    await_delivered(alerter, 3)
    assert receiver.texts == ["full", "death 0", "well again"]

    alerter.tick(time.monotonic() + 300.0)
    await_delivered(alerter, 4)
    assert receiver.texts[3] == "death 4 (and 3 more like it)"
    assert alerter.statistics().held_back == 4


def test_a_sender_that_was_killed_is_started_again(receiver: Receiver, start: Starter) -> None:
    """What it had not delivered is delivered by its successor; not before some time, though."""
    receiver.answering.clear()
    alerter = start(reports(receiver.url))
    first = alerter.pid
    assert first is not None
    alerter.alert(WORKER_DIED, "first", {})
    await_true(lambda: receiver.got, "the request that hangs")

    os.kill(first, signal.SIGKILL)
    assert alerter.ended(reaped(first))
    alerter.alert(WORKER_DIED, "second", {})
    assert (alerter.pid, alerter.ended(first)) == (None, False)
    receiver.answering.set()
    await_delivered(alerter, 2)

    assert receiver.texts == ["first", "first", "second"]
    assert alerter.statistics().restarts == 1


def test_a_sender_is_not_started_again_too_soon(start: Starter) -> None:
    """One that cannot live must not cost a fork at every turn."""
    alerter = start(reports("http://127.0.0.1:9/"), Patience())
    pid = alerter.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    alerter.ended(reaped(pid))

    alerter.tick(time.monotonic() + 29.0)
    assert alerter.pid is None
    alerter.tick(time.monotonic() + 31.0)
    assert alerter.pid is not None


def test_a_receiver_that_hangs_holds_nobody_up(receiver: Receiver, start: Starter) -> None:
    """Not even while thousands of alerts are made; those that wait are bounded."""
    receiver.answering.clear()
    alerter = start(reports(receiver.url))
    begun = time.monotonic()
    for number in range(2000):
        alerter.alert(WORKER_DIED, f"death {number}", {"padding": "x" * 500})

    # Waiting for the receiver once would have taken longer.
    assert time.monotonic() - begun < QUICK.timeout_seconds
    statistics = alerter.statistics()
    assert statistics.waiting <= MOST_WAITING
    assert statistics.lost >= 2000 - 2 * MOST_WAITING - 1


def test_the_end_waits_for_what_is_not_sent_yet(receiver: Receiver, start: Starter) -> None:
    """A server that stops after trouble still tells of it."""
    alerter = start(reports(receiver.url))
    for number in range(5):
        alerter.alert(WORKER_DIED, f"death {number}", {})

    alerter.close(5.0)

    assert receiver.texts == [f"death {number}" for number in range(5)]
    assert alerter.statistics().waiting == 0
    assert alerter.pid is None


def test_what_the_end_cuts_off_is_logged_with_its_text(
    receiver: Receiver, start: Starter, logged: Callable[[], list[str]]
) -> None:
    """Also where the sender was killed; and what was held back, which is no loss."""
    receiver.answering.clear()
    alerter = start(reports(receiver.url, alert_seconds=300.0))
    pid = alerter.pid
    assert pid is not None
    alerter.alert(WORKER_DIED, "worker 0 was killed", {})
    alerter.alert(WORKER_DIED, "worker 1 was killed", {})
    os.kill(pid, signal.SIGKILL)
    alerter.ended(reaped(pid))

    alerter.close(0.1)

    assert (
        "ERROR an alert is lost, it could not be sent before the end; "
        "worker.died: worker 0 was killed"
    ) in logged()
    assert (
        "INFO an alert was held back until the end; worker.died: worker 1 was killed"
    ) in logged()
    assert alerter.statistics().lost == 1


def test_what_nobody_could_send_in_all_the_time_is_logged_with_its_text(
    receiver: Receiver, start: Starter, logged: Callable[[], list[str]]
) -> None:
    """A sender that hangs, or is not there, does not keep alerts for ever."""
    receiver.answering.clear()
    alerter = start(reports(receiver.url))
    alerter.alert(WORKER_DIED, "worker 0 was killed", {})

    longest_seconds = QUICK.give_up_seconds + 2 * QUICK.timeout_seconds
    alerter.tick(time.monotonic() + longest_seconds - 1.0)
    assert alerter.statistics().lost == 0
    alerter.tick(time.monotonic() + longest_seconds + 1.0)

    assert "ERROR an alert is lost, nobody could send it; worker.died: worker 0 was killed" in (
        logged()
    )
    assert (alerter.statistics().lost, alerter.statistics().waiting) == (1, 0)


def test_after_the_end_nothing_is_sent(receiver: Receiver, start: Starter) -> None:
    """Nor is a sender started for it: the server ends."""
    alerter = start(reports(receiver.url))
    alerter.close(1.0)

    alerter.alert(WORKER_DIED, "worker 0 was killed", {})
    alerter.tick(time.monotonic() + 1000.0)

    assert alerter.pid is None
    assert alerter.statistics().made == 0


def test_what_gives_way_to_others_is_logged_with_its_text(
    receiver: Receiver, start: Starter, logged: Callable[[], list[str]]
) -> None:
    """The oldest of the commonest kind."""
    receiver.answering.clear()
    alerter = start(reports(receiver.url))
    for number in range(MOST_WAITING + 1):
        alerter.alert(WORKER_DIED, f"death {number}", {})

    assert ("ERROR an alert is lost, too many others wait; worker.died: death 0") in logged()


def test_the_end_does_not_wait_longer_than_told(receiver: Receiver, start: Starter) -> None:
    """A receiver that hangs does not keep the server."""
    receiver.answering.clear()
    alerter = start(reports(receiver.url))
    pid = alerter.pid
    assert pid is not None
    alerter.alert(WORKER_DIED, "it died", {})
    await_true(lambda: receiver.got, "the request that hangs")

    begun = time.monotonic()
    alerter.close(0.1)

    assert time.monotonic() - begun < QUICK.timeout_seconds
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_sender_ignores_the_groups_signals(receiver: Receiver, start: Starter) -> None:
    """Ctrl-C reaches the whole group; what happens while the server drains is still told."""
    alerter = start(reports(receiver.url))
    pid = alerter.pid
    assert pid is not None
    alerter.alert(WORKER_DIED, "first", {})
    await_delivered(alerter, 1)  # by now it has begun
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        os.kill(pid, number)

    alerter.alert(WORKER_DIED, "second", {})
    await_delivered(alerter, 2)
    assert alerter.pid == pid


def test_the_sender_ends_with_a_supervisor_that_is_killed() -> None:
    """Nothing is left behind, not even while it waits for an answer."""
    reader, writer = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def live() -> None:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            alerter = Alerter.start(reports(url), "api", STANDARD)
            alerter.alert(WORKER_DIED, "it died", {})
            os.write(writer, str(alerter.pid).encode())
            signal.pause()

        supervisor = fork(live)
        ends = Ends([int(os.read(reader, 20))])
        with listening.accept()[0] as connection:
            connection.recv(10)
            os.kill(supervisor, signal.SIGKILL)
            reaped(supervisor)

            # Sooner than the answer's time is up.
            assert ends.await_all(Patience().timeout_seconds / 2) == []
    ends.close()
    os.close(reader)
    os.close(writer)


def test_the_sender_keeps_no_descriptor_of_the_supervisor(start: Starter) -> None:
    """A port that the supervisor closes is free although the sender lives."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        alerter = start(reports("http://127.0.0.1:9/"))
        await_true(lambda: len(os.listdir(f"/proc/{alerter.pid}/fd")) <= 5, "closed descriptors")
    with socket.create_server(("127.0.0.1", port)):
        assert alerter.pid is not None


def test_an_address_without_sense_is_told_at_the_start() -> None:
    """Before anything is forked."""
    with pytest.raises(ConfigError, match=r"^TONNAGE_ALERT_URL .*write https://HOST/PATH"):
        Alerter.start(reports("hooks.slack.com/services/x"), "api", STANDARD)


def test_alerts_cost_no_memory_that_is_not_there(receiver: Receiver) -> None:
    """The sender takes what the plan counts for it, and does not grow with the alerts it sends."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURING, receiver.url], capture_output=True, text=True, check=True
    )
    tree, first, last = map(int, done.stdout.split())
    assert len(receiver.got) == 220
    assert tree < ALERTER_BYTES
    assert last - first < MIB / 2


# In an interpreter of its own: forked from that of the tests, a sender would share its many pages.
_MEASURING = """
import os, sys, time
from tests.ops.receiver import reports
from tonnage.host.processes import read_rollup
from tonnage.ops.alerts import Alerter

def send(count):
    wanted = alerter.statistics().delivered + count
    for number in range(count):
        alerter.alert("worker.died", "it died", {"number": number, "padding": "x" * 1000})
    while alerter.statistics().delivered < wanted:
        alerter.tick(time.monotonic())
        time.sleep(0.002)

before = read_rollup(os.getpid()).pss_bytes
alerter = Alerter.start(reports(sys.argv[1]), "api", frozenset((0, 1, 2)))
send(20)
first = read_rollup(alerter.pid).rss_bytes
for _ in range(10):
    send(20)
tree = read_rollup(alerter.pid).pss_bytes + read_rollup(os.getpid()).pss_bytes - before
print(tree, first, read_rollup(alerter.pid).rss_bytes)
alerter.close(0.0)
"""
