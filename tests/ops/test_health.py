"""What the health endpoints answer, to whom."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from tonnage.answer import Answer
from tonnage.governor.levels import Level
from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import NANOSECONDS, WorkerState
from tonnage.ops.health import Health
from tonnage.ops.trust import is_trusted
from tonnage.units import MIB

NOW = 1_000 * NANOSECONDS


@pytest.fixture
def page() -> SharedPage:
    """A server of 512 MB: 160 in use, of which a worker has 60 of its own, 10 kept."""
    page = SharedPage()
    header = page.header
    header.limit_bytes, header.used_bytes = 512 * MIB, 160 * MIB
    header.raw_bytes, header.cache_bytes = 200 * MIB, 40 * MIB
    header.supervisor_pss_bytes, header.zygote_pss_bytes = 5 * MIB, 20 * MIB
    header.started_nanoseconds = NOW - 61_500_000_000
    header.level_since_nanoseconds = NOW - 2 * NANOSECONDS
    header.measured_how, header.ceiling_bytes = 1, 480 * MIB
    slot = page.slots[0]
    slot.pid, slot.state = 77, WorkerState.READY
    slot.started_nanoseconds = NOW - 60 * NANOSECONDS
    slot.heartbeat_nanoseconds = NOW
    slot.pss_bytes, slot.uss_bytes = 100 * MIB, 70 * MIB
    slot.held_bytes, slot.kept_bytes, slot.promised_bytes = 60 * MIB, 10 * MIB, 24 * MIB
    slot.in_flight, slot.waiting, slot.requests, slot.refused = 3, 2, 500, 1
    return page


def answer(page: SharedPage, path: str, *, trusted: bool = True, **options: Any) -> Answer:
    """Return the answer for *path*."""
    found = Health(page, clock=lambda: NOW, **options).find(path)
    assert found is not None
    return found(trusted)


def body(page: SharedPage, path: str, *, trusted: bool = True, **options: Any) -> Any:
    """Return the answer's body."""
    return json.loads(answer(page, path, trusted=trusted, **options).body)


@pytest.mark.parametrize("level", list(Level))
def test_health_is_200_at_every_level(page: SharedPage, level: Level) -> None:
    """As long as the server works, whoever asks."""
    page.header.level = level

    assert answer(page, "/health", trusted=False).status == 200
    assert body(page, "/health")["status"] == level.name


def test_everyone_may_know_that_it_is_well(page: SharedPage) -> None:
    """Status, time and uptime, and no more."""
    found = body(page, "/health", trusted=False)

    assert set(found) == {"status", "timestamp", "uptime"}
    assert (found["status"], found["uptime"]) == ("OK", 61.5)
    assert datetime.fromisoformat(found["timestamp"]).tzinfo is not None


def test_the_trusted_see_memory_too(page: SharedPage) -> None:
    """In the keys that the first backends had, in MB."""
    found = body(page, "/health", where="supervisor")

    assert found["answeredBy"] == "supervisor"
    assert found["memory"] == {
        "rss": 125.0,
        "heapTotal": 70.0,
        "heapUsed": 60.0,
        "external": 55.0,
        "limit": 512.0,
        "usagePercent": 31.2,
        "available": 352.0,
    }


def test_before_processes_were_measured_the_heap_is_what_workers_say(page: SharedPage) -> None:
    """PSS is taken seldom, and not at once."""
    page.header.supervisor_pss_bytes = page.header.zygote_pss_bytes = 0
    page.slots[0].pss_bytes = page.slots[0].uss_bytes = 0

    memory = body(page, "/health")["memory"]

    assert (memory["rss"], memory["heapTotal"], memory["heapUsed"]) == (0.0, 60.0, 50.0)
    assert memory["external"] == 0.0


@pytest.mark.parametrize(
    ("level", "stopping", "state", "status"),
    [
        (Level.OK, 0, WorkerState.READY, 200),
        (Level.CRITICAL, 0, WorkerState.READY, 200),
        (Level.EXHAUSTED, 0, WorkerState.READY, 503),
        (Level.OK, 1, WorkerState.READY, 503),
        (Level.OK, 0, WorkerState.STARTING, 503),
        (Level.OK, 0, WorkerState.DRAINING, 503),
    ],
)
@pytest.mark.parametrize("trusted", [True, False])
def test_ready_says_whether_to_send_requests(
    page: SharedPage, level: Level, stopping: int, state: WorkerState, status: int, trusted: bool
) -> None:
    """503 at EXHAUSTED, while stopping, and while no worker accepts."""
    page.header.level, page.header.stopping = level, stopping
    page.slots[0].state = state

    found = answer(page, "/health/ready", trusted=trusted)

    assert found.status == status
    assert json.loads(found.body) == {
        "ready": status == 200,
        "status": level.name,
        "stopping": bool(stopping),
    }


def test_memory_is_for_the_trusted(page: SharedPage) -> None:
    """Others are told how to become one."""
    found = answer(page, "/health/memory", trusted=False)

    assert found.status == 403
    assert b"TONNAGE_ADMIN_TOKEN" in found.body
    assert b"512" not in found.body


def test_memory_has_the_first_backends_keys_and_ours(page: SharedPage) -> None:
    """Level, how it was measured, workers, ledger."""
    page.header.level = Level.CRITICAL
    page.header.planned_workers = 2

    found = body(page, "/health/memory", worker_index=0)

    assert found["status"] == found["level"] == "CRITICAL"
    assert found["memory"]["limit"] == 512.0
    assert found["clustering"] == {"enabled": True, "isWorker": True, "workerId": 0}
    assert (found["used"], found["ceiling"], found["reserved"]) == (160.0, 480.0, 24.0)
    assert (found["measured"], found["levelSeconds"]) == ("cgroup working set", 2.0)
    assert found["answeredBy"] == "worker"
    (worker,) = found["workers"]
    assert (worker["workerId"], worker["pid"], worker["state"]) == (0, 77, "READY")
    assert (worker["pss"], worker["held"], worker["promised"]) == (100.0, 60.0, 24.0)
    assert (worker["inFlight"], worker["waiting"], worker["refused"]) == (3, 2, 1)


def test_fewer_workers_than_planned_are_said(page: SharedPage) -> None:
    """With the reason, and with what to do; as long as all are there, nothing is."""
    page.header.desired_workers = page.header.planned_workers = 2
    found = body(page, "/health/memory")
    assert (found["desiredWorkers"], found["plannedWorkers"]) == (2, 2)
    assert "note" not in found

    page.header.desired_workers = 1

    assert body(page, "/health/memory")["note"].startswith(
        "1 of 2 workers, since recycling did not bring memory back: "
    )


def test_the_supervisor_is_no_worker(page: SharedPage) -> None:
    """It answers with the same words."""
    found = body(page, "/health/memory", where="supervisor")

    assert found["clustering"] == {"enabled": False, "isWorker": False, "workerId": None}


def test_a_worker_in_a_synchronous_call_shows_as_stuck(page: SharedPage) -> None:
    """Its heart does not beat."""
    page.slots[0].heartbeat_nanoseconds = NOW - 5 * NANOSECONDS

    assert body(page, "/health/memory")["workers"][0]["state"] == "STUCK"


@pytest.mark.parametrize("held_mb", [60, -3])
def test_the_books_balance(page: SharedPage, held_mb: int) -> None:
    """The lines add up to what is used, and with the cache to what is charged."""
    page.slots[0].held_bytes = held_mb * MIB
    page.header.workers_own_bytes = max(0, held_mb * MIB)
    page.header.jobs_held_bytes = 5 * MIB

    ledger = body(page, "/health/memory")["ledger"]

    lines = ("supervisor", "zygote", "workersShared", "workersOwn", "jobs", "unexplained")
    assert sum(ledger[line] for line in lines) == ledger["used"] == 160.0
    assert ledger["used"] + ledger["cache"] == ledger["charged"] == 200.0


def test_paths_follow_the_option(page: SharedPage) -> None:
    """What is not ours is not answered."""
    health = Health(page, path="/_tonnage")

    assert health.find("/_tonnage/memory") is not None
    assert health.find("/health") is None


def test_an_answer_says_what_it_is() -> None:
    """Type, length, and that it is not to be kept."""
    assert Answer(200, b"{}", ((b"retry-after", b"1"),)).all_headers() == [
        (b"content-type", b"application/json"),
        (b"content-length", b"2"),
        (b"cache-control", b"no-store"),
        (b"retry-after", b"1"),
    ]


@pytest.mark.parametrize(
    ("peer", "headers", "token", "trusted"),
    [
        ("127.0.0.1", [], None, True),
        ("127.8.8.8", [], None, True),
        ("::1", [], None, True),
        ("::ffff:127.0.0.1", [], None, True),
        ("::12", [], None, False),
        ("10.0.0.5", [], None, False),
        ("", [], None, False),
        (None, [], None, False),
        ("127.0.0.1", [(b"x-forwarded-for", b"1.2.3.4")], None, False),
        ("127.0.0.1", [(b"forwarded", b"for=1.2.3.4")], None, False),
        ("127.0.0.1", [(b"via", b"1.1 proxy")], None, False),
        ("127.0.0.1", [(b"accept", b"*/*")], None, True),
        ("10.0.0.5", [(b"authorization", b"Bearer s3cret")], "s3cret", True),
        ("10.0.0.5", [(b"authorization", b"bearer  s3cret ")], "s3cret", True),
        ("10.0.0.5", [(b"authorization", b"Bearer other")], "s3cret", False),
        ("127.0.0.1", [(b"authorization", b"Bearer other")], "s3cret", False),
        ("127.0.0.1", [(b"authorization", b"Bearer other")], None, True),
        ("10.0.0.5", [(b"authorization", b"s3cret")], "s3cret", False),
        ("10.0.0.5", [(b"authorization", b"Bearer ")], "", False),
        ("10.0.0.5", [(b"authorization", b"Bearer None")], None, False),
        ("127.0.0.1", [], "s3cret", True),
    ],
)
def test_trust_is_a_token_or_this_machine_itself(
    peer: str | None, headers: list[tuple[bytes, bytes]], token: str | None, trusted: bool
) -> None:
    """A forwarding header means that the peer is only a proxy."""
    assert is_trusted(peer, headers, token) is trusted
