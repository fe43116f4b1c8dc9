"""Security events and cleared caches of a real server: one for all workers, told to operators."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.ops.receiver import Receiver, receiving
from tests.support.server import Running, clean_environment, connection_to, exchange
from tests.support.waiting import await_true

pytestmark = pytest.mark.real

APP = "tests.stores.security.served:app"
TOKEN = "opensesame"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Yield a webhook's other end."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(receiver: Receiver) -> Iterator[Running]:
    """Yield a server of two workers."""
    env = {"TONNAGE_ALERT_URL": receiver.url, "TONNAGE_ADMIN_TOKEN": TOKEN}
    options = ("--memory", "512M", "--workers", "2", "--admin-port", "0", "--api-aliases")
    with Running(APP, *options, env=env) as server:
        yield server


def until_both(server: Running, ask: Callable[[], str]) -> dict[str, str]:
    """Ask until both workers have answered; return what each said first, by its process."""
    said: dict[str, str] = {}

    def ask_once() -> bool:
        pid, _, rest = ask().partition(" ")
        said.setdefault(pid, rest)
        return len(said) == 2

    await_true(ask_once, "both workers answer")
    return said


def events(answer: Any) -> list[str]:
    """Return the kinds of the events in an answer, the oldest first."""
    assert answer.status == 200, answer
    return [event["kind"] for event in reversed(answer.json()["events"])]


def test_workers_block_together_and_operators_see_it(server: Running, receiver: Receiver) -> None:
    """Whichever worker noted it, and also when that is gone."""
    statuses = [server.get("/login").status for _ in range(8)]
    assert statuses == [401] * 4 + [429] * 4
    assert server.get("/login").headers["retry-after"]
    expected = ["login_failed"] * 4 + ["blocked"]

    on_port = server.get("/security/events")
    assert events(on_port) == events(server.get("/api/security/events")) == expected
    assert events(server.ask_supervisor("/security/events")) == expected
    assert "ann" not in on_port.body.decode()
    with connection_to(server.banner("admin").removesuffix("/health"), 5.0) as connection:
        narrowed = exchange(connection, "GET", "/security/events?kind=blocked&limit=1")
        assert events(narrowed) == ["blocked"]
    headers = {"X-Forwarded-For": "203.0.113.7"}
    assert server.request("GET", "/security/events", headers=headers).status == 403
    headers["Authorization"] = f"Bearer {TOKEN}"
    assert server.request("GET", "/security/events", headers=headers).status == 200

    await_true(lambda: receiver.got, "the alert is delivered")
    assert receiver.got[0]["event"] == "security.alert"
    assert receiver.got[0]["text"].startswith("127.0.0.1 is blocked for 15 min")

    old = server.worker_pids()
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    await_true(
        lambda: len(server.worker_pids()) == 2 and not set(old) & set(server.worker_pids()),
        "two other workers",
    )
    assert events(server.get("/security/events")) == expected
    assert server.get("/login").status == 429


def test_a_cache_is_cleared_in_all_workers(server: Running) -> None:
    """By POST, on the control socket, and by the command; not by another site's page."""

    def keep() -> str:
        return server.get("/keep").body.decode()

    def clear(*names: str) -> subprocess.CompletedProcess[str]:
        control = ("--control", str(server.control))
        return subprocess.run(
            [sys.executable, "-m", "tonnage", "cache", "clear", *names, *control],
            capture_output=True,
            text=True,
            check=not names,
            env=clean_environment(),
        )

    def cached() -> set[str]:
        return set(until_both(server, lambda: server.get("/look").body.decode()).values())

    until_both(server, keep)
    assert cached() == {"yes"}

    foreign = {"Origin": "https://evil.example"}
    assert server.request("POST", "/cache/clear", headers=foreign).status == 403
    unknown = server.request("POST", "/cache/clear?name=others")
    assert (unknown.status, unknown.json()["error"]) == (404, "not_found")
    for said in (unknown.json()["detail"], clear("others").stderr):
        assert "there is no cache called 'others'; there are 'answers'" in said
    assert cached() == {"yes"}

    answer = server.request("POST", "/api/cache/clear?name=answers")
    assert (answer.status, answer.json()["cleared"]) == (200, "answers")
    assert cached() == {"no"}

    until_both(server, keep)
    told = clear()
    assert told.stdout == "2 worker(s) clear all caches\n"
    await_true(lambda: cached() == {"no"}, "they have")


def test_the_admin_port_acts_with_the_token_only(server: Running) -> None:
    """Any user of the machine can reach it."""
    url = server.banner("admin").removesuffix("/health")
    for headers, status in (({}, 403), ({"Authorization": f"Bearer {TOKEN}"}, 202)):
        with connection_to(url, 5.0) as connection:
            answer = exchange(connection, "POST", "/cache/clear?name=answers", headers=headers)
        assert answer.status == status
        assert json.loads(answer.body)["detail"]


def test_without_a_monitor_or_a_cache_the_paths_are_the_applications() -> None:
    """And the supervisor has nothing there."""
    with Running("benchmarks.app:app", "--memory", "512M") as server:
        assert server.get("/security/events").status == 404
        assert server.request("POST", "/cache/clear").status in (404, 405)
        assert server.ask_supervisor("/security/events").status == 404
        assert server.get("/api/health").status == 404
