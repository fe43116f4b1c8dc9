"""What is reported when a worker ends, or a request in it ran out of memory."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
from tests.server.conftest import Said
from tests.server.scene import KILLED, Whole, scene

from tonnage.governor.flight import Flight
from tonnage.governor.page import DEATH_CAUSES
from tonnage.governor.statistics import DEATHS, read_statistics
from tonnage.host.reins import UNLIMITED, limit_data
from tonnage.ops.alertpolicy import PROGRAM_BRAKED, WORKER_DIED
from tonnage.server.held import Ended
from tonnage.server.messages import RanOut
from tonnage.server.postmortem.cause import Cause
from tonnage.server.postmortem.facts import Kill, KillReason, Program
from tonnage.server.programs import LARGE_BYTES, Started
from tonnage.units import MIB

CRASHED = int(signal.SIGSEGV)
TERMINATED = int(signal.SIGTERM)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Whole]:
    """Two workers, and a directory for reports."""
    with scene(Whole, reports=tmp_path / "reports") as made:
        made.look(100)
        yield made


@contextmanager
def lost_program(server: Whole) -> Iterator[None]:
    """Let worker 1, in whose place we are, have started a program that is gone."""
    code = f"held = bytearray(b'x') * {2 * LARGE_BYTES}; print(flush=True); input()"
    command = [sys.executable, "-S", "-c", code]
    with Popen(command, stdin=PIPE, stdout=PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        pid, server.page.slots[1].pid = server.page.slots[1].pid, os.getpid()
        server.started.append(program.pid)
        server.brake.take_census()
        program.kill()
        program.wait()
        try:
            yield
        finally:
            server.page.slots[1].pid = pid
            # It was ours that a look has set.
            limit_data(0, UNLIMITED)


def causes(server: Whole) -> list[str]:
    """Return the causes of all reports, the newest first."""
    return [report["cause"] for report in server.operator.postmortems()]


def newest(server: Whole) -> dict[str, Any]:
    """Return the newest report."""
    found = server.operator.postmortem(server.operator.postmortems()[0]["name"])
    assert found is not None
    return found


def test_a_crash_is_reported_logged_and_told(server: Whole, said: Said) -> None:
    """With what the slot said, before it is wiped."""
    slot = server.page.slots[1]
    slot.requests, slot.memory_errors, slot.data_limit_bytes = 77, 2, 300 * 2**20
    names = server.page.cost_names(5)
    names[:11] = b"GET /export"
    Flight(slot).begin(5, "203.0.113.7", int(server.now_seconds * 1e9))

    server.dies(1, CRASHED)

    report = newest(server)
    assert report["worker"]["index"] == 1
    assert "GET /export" in report["text"]
    assert slot.memory_errors == 0
    ((kind, text),) = server.told
    assert kind == WORKER_DIED
    assert text in said()
    assert "; the report is " in said()


def test_a_kill_by_the_kernel_is_told_from_one_from_outside(server: Whole) -> None:
    """By the kernel's counter, each count of which explains one death."""
    server.gauge.kills = 1
    server.look(100)
    server.dies(0, KILLED)
    server.start()

    server.dies(1, KILLED)

    assert causes(server) == ["signal", "oom"]


def test_a_kill_by_the_kernel_explains_one_job(server: Whole) -> None:
    """Of several, each explains another; without one, none."""
    assert not server.inquest.claim_kill()

    server.gauge.kills = 1
    assert server.inquest.claim_kill()
    assert not server.inquest.claim_kill()

    server.gauge.kills = 3
    assert server.inquest.claim_kill()
    assert server.inquest.claim_kill()
    assert not server.inquest.claim_kill()


def test_deaths_are_counted_by_cause(server: Whole) -> None:
    """Those that nobody has asked for, over all workers that come after."""
    server.dies(0, CRASHED)
    server.dies(1, KILLED)
    server.start()
    server.dies(1, KILLED)
    found = read_statistics(server.page, 0).deaths
    assert {cause: count for cause, count in found.items() if count} == {"crash": 1, "signal": 2}


def test_every_cause_of_a_death_has_a_count() -> None:
    """As many as the page has room for; a request out of memory ends no worker."""
    assert set(DEATHS) == {*Cause, "unknown"} - {Cause.MEMORY_ERROR}
    assert len(DEATHS) == DEATH_CAUSES


def test_the_counter_may_have_moved_with_this_very_death(server: Whole, said: Said) -> None:
    """Whose signal is heard of before the next look."""
    server.gauge.kills = 1
    server.dies(0, KILLED)

    assert causes(server) == ["oom"]
    assert "the kernel killed 1 process(es) in our cgroup for want of memory" in said()
    assert server.page.header.kernel_kills == 1
    server.look(100)
    assert server.page.header.kernel_kills == 1


def test_two_killed_at_once_are_both_the_kernels(server: Whole) -> None:
    """The counter moves by two."""
    server.gauge.kills = 2
    server.dies(0, KILLED)
    server.dies(1, KILLED)

    assert causes(server) == ["oom", "oom"]


def test_a_kill_of_another_process_explains_no_later_death(server: Whole) -> None:
    """A child of the application was killed; much later somebody kills a worker by hand."""
    server.gauge.kills = 1
    server.look(100)
    server.now_seconds += 60

    server.dies(0, KILLED)

    assert causes(server) == ["signal"]


def test_a_kill_from_outside_soon_after_is_told_from_the_kernels(server: Whole) -> None:
    """Half a second later with memory free: what was counted was another process."""
    server.gauge.kills = 1
    server.look(100)
    server.look(100, after_seconds=0.5)

    server.dies(0, KILLED)

    assert causes(server) == ["signal"]
    assert newest(server)["cause"]["sureness"] == "likely"


def test_a_program_that_the_kernel_has_killed_is_reported(server: Whole, said: Said) -> None:
    """It was gone when the counter moved, and no worker's death has followed."""
    slot = server.page.slots[1]
    server.page.cost_names(5)[:12] = b"POST /resize"
    flight = Flight(slot)
    entry = flight.begin(5, "203.0.113.7", int(server.now_seconds * 1e9))
    with lost_program(server):
        server.gauge.kills = 1
        server.look(100)
        assert causes(server) == []
        flight.end(entry)
        server.look(100, after_seconds=0.6)

    report = newest(server)
    assert report["name"].endswith("-program-oom")
    assert "was killed by the kernel for want of memory, probably because of" in report["summary"]
    assert report["summary"].endswith("POST /resize")
    assert report["cause"]["sureness"] == "likely"
    assert report["worker"]["index"] == 1
    assert report["summary"] in said()
    assert server.told == [(PROGRAM_BRAKED, report["summary"])]
    server.look(100)
    server.dies(0, KILLED)
    assert causes(server) == ["signal", "oom"]


def test_which_of_two_the_kernel_has_killed_is_not_certain(server: Whole) -> None:
    """A worker and a program are gone, and one was counted."""
    with lost_program(server):
        server.gauge.kills = 1
        server.dies(0, KILLED)
        server.look(100, after_seconds=0.6)

    assert causes(server) == ["oom"]
    assert newest(server)["worker"]["index"] == 0
    assert newest(server)["cause"]["sureness"] == "likely"


def test_what_the_brake_has_ended_is_the_brakes(server: Whole) -> None:
    """And what the kernel has killed at the same time is still the kernel's."""
    pid = server.crew.members[0].pid
    assert pid is not None
    server.brake.killed = pid, Kill(KillReason.BRAKE, 300 * 2**20, 0.8, 0.1)
    server.gauge.kills = 1
    server.dies(0, KILLED)
    server.dies(1, KILLED)

    assert causes(server) == ["oom", "brake"]
    assert server.brake.killed is None


def test_a_program_is_blamed_on_the_request_that_was_there_when_it_started(server: Whole) -> None:
    """Of those in flight at its end, most have come since."""
    flight = Flight(server.page.slots[1])
    for row, name, seconds in [(5, b"POST /resize", 2.0), (6, b"GET /", 0.1)]:
        server.page.cost_names(row)[: len(name)] = name
        entry = flight.begin(row, "203.0.113.7", int((server.now_seconds - seconds) * 1e9))
        flight.run(entry)
    kill = Kill(KillReason.BRAKE, 300 * 2**20, 0.8, 0.1)
    server.brake.ended = Ended(Started(Program(5000, "convert", 1.9), 1), kill)

    server.look(100)

    assert newest(server)["summary"].endswith("probably because of POST /resize")


def test_a_program_that_the_brake_has_ended_is_reported(server: Whole, said: Said) -> None:
    """As a death is, with the request that has started it; its worker goes on."""
    server.page.cost_names(5)[:12] = b"POST /resize"
    Flight(server.page.slots[1]).begin(5, "203.0.113.7", int(server.now_seconds * 1e9))
    kill = Kill(KillReason.BRAKE, 300 * 2**20, 0.8, 0.1)
    server.brake.ended = Ended(Started(Program(5000, "convert"), 1), kill)

    server.look(100)

    report = newest(server)
    assert report["name"].endswith("-program-brake")
    assert report["summary"] == (
        "convert (pid 5000), a program started by worker 1, was braked: it grew by 300 MB in 0.8 s "
        "and free memory would have run out in 100 ms, probably because of POST /resize"
    )
    assert report["program"] == {"pid": 5000, "name": "convert"}
    assert report["worker"]["pid"] == server.crew.members[1].pid
    assert "  program: convert (pid 5000)" in report["text"]
    assert "Have the program need less" in report["text"]
    assert report["summary"] in said()
    ((kind, text),) = server.told
    assert (kind, text) == (PROGRAM_BRAKED, report["summary"])
    assert server.figures["program"] == "convert"
    assert server.operator.postmortems()[0]["worker"] is None
    assert server.crew.is_complete

    server.look(100)
    assert len(causes(server)) == 1


def test_a_program_of_no_known_worker_is_reported(server: Whole) -> None:
    """Its parents had ended, and with them what it was started for."""
    server.brake.ended = Ended(Started(Program(5000, "x\x1b[2J"), None), Kill(KillReason.BRAKE))

    server.look(100)

    report = newest(server)
    assert "a program started by the application, was braked" in report["summary"]
    assert "no request in flight" not in report["summary"]
    assert "worker None" not in report["text"].lower()
    assert "\x1b" not in report["text"]


def test_facts_without_sense_do_not_end_the_server(server: Whole) -> None:
    """Here the status of a process that has only been stopped."""
    server.inquest.on_death(server.crew.members[0], 0x137F)

    assert server.figures["cause"] == "unknown"
    assert causes(server) == []


@pytest.mark.parametrize("status", [0, TERMINATED])
def test_an_end_that_was_asked_for_is_no_news(server: Whole, status: int) -> None:
    """Neither when the server stops nor when a worker is replaced."""
    server.crew.dismiss(server.crew.members[0])
    server.dies(0, status)

    assert causes(server) == []
    assert server.told == []


@pytest.mark.parametrize(("status", "cause"), [(CRASHED, "crash"), (KILLED, "signal")])
def test_one_that_dies_while_it_drains_is_reported(server: Whole, status: int, cause: str) -> None:
    """It was asked to finish, not to crash."""
    server.crew.dismiss(server.crew.members[0])
    server.dies(0, status)

    assert causes(server) == [cause]


def test_one_that_had_to_be_made_to_end_is_reported(server: Whole) -> None:
    """Its requests were cut short."""
    member = server.crew.members[0]
    server.crew.dismiss(member)
    server.crew.end(member, KillReason.RECYCLE_DEADLINE)
    server.dies(0, KILLED)

    assert causes(server) == ["deadline"]


def test_an_exit_is_reported(server: Whole) -> None:
    """An application that ends its own process is not expected to."""
    server.dies(0, 7 << 8)

    assert causes(server) == ["exit"]
    assert "ended with status 7" in server.told[0][1]


def test_a_request_that_ran_out_of_memory_is_reported_and_nobody_is_woken(server: Whole) -> None:
    """The worker went on; the report names route and line."""
    ran_out = RanOut(
        route="GET /export",
        line="app.py:12 in export",
        grown_bytes=200 * MIB,
        left_bytes=0,
        was_freed=False,
        answered=503,
    )
    server.inquest.on_memory_error(server.crew.members[0], ran_out)

    report = newest(server)
    assert report["cause"]["kind"] == "memory-error"
    assert report["culprit"]["request"] == "GET /export"
    assert report["culprit"]["answered_status"] == 503
    assert "app.py:12 in export" in report["summary"]
    assert server.told == []
    assert server.crew.is_complete


def test_without_a_directory_the_report_goes_to_the_log(said: Said) -> None:
    """The alert goes out all the same."""
    with scene(Whole) as server:
        server.dies(0, CRASHED)

        assert len(server.told) == 1
        assert "crashed with SIGSEGV" in said()
        assert "the report is" not in said()
