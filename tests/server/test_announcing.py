"""The start banner, where something is amiss at that very moment."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from tests.server.test_watch import CEILING_BYTES, MARKS, Gauge
from tests.support.ports import free_port
from tests.support.server import clean_environment, command
from tests.support.waiting import await_true

from tonnage.budget.plan import make_plan
from tonnage.budget.wishes import wishes_from
from tonnage.config import load_settings
from tonnage.governor.page import SharedPage
from tonnage.host.limits import discover_limit
from tonnage.ops.health import Health
from tonnage.server.announcing import Announcer
from tonnage.server.assignment import Assignment
from tonnage.server.doors import Doors
from tonnage.server.frontdesk import FrontDesk
from tonnage.server.limitwatch import LimitWatch
from tonnage.server.nursery import Nursery
from tonnage.server.reactor import Reactor
from tonnage.server.watch import Watch
from tonnage.units import MIB


def test_a_banner_is_printed_although_use_cannot_be_read_just_now(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With what was read last: a server that is blind for a moment goes on."""
    settings = load_settings({"target": "main:app", "memory": "512MB"}, {}, Path("/"))
    page, reactor, gauge = SharedPage(), Reactor(), Gauge(used_mb=123)
    watch = Watch(page, gauge, MARKS, CEILING_BYTES, clock=time.monotonic)
    limit = discover_limit(512 * MIB)
    plan = make_plan(limit.bytes, limit.source, 2, None, wishes_from(settings, limit.bytes))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assignment = Assignment(
            settings=settings,
            page=page,
            index=0,
            listening=listening,
            supervisor_pid=os.getpid(),
            queue_requests=10,
            threads=4,
            huge_pages=False,
            inherited=frozenset(),
        )
        front = FrontDesk(
            reactor, Health(page), admin_token=None, listening=listening, clock=time.monotonic
        )
        announcer = Announcer(
            settings=settings,
            plan=plan,
            page=page,
            nursery=Nursery(assignment, preload=False),
            watch=watch,
            limit_watch=LimitWatch(
                settings=settings, limit=limit, plan=plan, watch=watch, reactor=reactor, pids=list
            ),
            doors=Doors(front, "127.0.0.1-8000", (), None, ()),
            jobs=settings.jobs,
            alerts_to=None,
            warnings=(),
        )
        watch.look()
        gauge.is_broken = True

        announcer.announce()

    said = capsys.readouterr().err
    assert "123 MB" in said
    assert "measured: cgroup working set" in said


@pytest.mark.real
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_server_that_cannot_say_it_serves(tmp_path: Path) -> None:
    """As where its log's disk is full."""
    port = str(free_port())

    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as found:
            return bool(found.status == 200)
        return False

    with open("/dev/full", "w") as full:
        server = subprocess.Popen(
            command(["tests.server.working:app", "--workers", "1", "--port", port]),
            env=clean_environment() | {"XDG_RUNTIME_DIR": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=full,
        )
    try:
        await_true(answers, "it serves")
    finally:
        server.terminate()
        server.wait(20)
