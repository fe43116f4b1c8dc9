"""Heartbeats in a real server: several workers, one that is killed, a stop and a new start."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage import Heartbeats

pytestmark = pytest.mark.real

APP = "tests.stores.beating_app:app"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a database with an empty table of sessions."""
    path = tmp_path / "app.db"
    metadata = MetaData()
    Heartbeats.table(metadata)
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    return path


def serving(file: Path, flush_seconds: str, silence_seconds: str) -> Running:
    """Return a server with two workers."""
    return Running(
        APP, "--workers", "2",
        env={
            "SESSIONS_URL": f"sqlite:///{file}", "ENDED_FILE": f"{file}.ended",
            "FLUSH_SECONDS": flush_seconds, "SILENCE_SECONDS": silence_seconds,
        },
    )  # fmt: skip


def ask(file: Path, query: str) -> list[Any]:
    """Return the rows of a query."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


def told(file: Path) -> list[tuple[str, str]]:
    """Return of which sessions the application was told that they have ended: ids, seconds."""
    ended = Path(f"{file}.ended")
    lines = ended.read_text().splitlines() if ended.exists() else []
    return [(name, seconds) for name, seconds in map(str.split, lines)]


def beat(server: Running, names: list[str]) -> set[int]:
    """Have each session beat once; return the workers that took beats."""
    answers = [server.get(f"/beat?id={name}") for name in names]
    assert {answer.status for answer in answers} == {200}
    return {int(answer.body) for answer in answers}


def test_sessions_end_once_though_workers_are_killed(file: Path) -> None:
    """Sessions that beat at several workers end once each, and outlive a worker that is killed."""
    names = [f"s{number}" for number in range(20)]
    with serving(file, "0.1s", "3s") as server:
        began = time.monotonic()
        workers = beat(server, names)
        workers |= beat(server, names)
        assert len(workers) == 2
        os.kill(workers.pop(), signal.SIGKILL)
        await_true(lambda: len(server.worker_pids()) == 2, "the killed worker to be replaced")
        while time.monotonic() < began + 1:
            beat(server, names)
        assert ask(file, "SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL") == [(0,)]
        lasted = time.monotonic() - began
        await_true(
            lambda: ask(file, "SELECT count(ended_at) FROM sessions") == [(20,)],
            "the sessions' end",
        )
        await_true(lambda: len(told(file)) == 20, "all to be told")
    ended = dict(told(file))
    assert sorted(ended) == sorted(names)
    stored = dict(ask(file, "SELECT id, duration_seconds FROM sessions"))
    assert all(abs(stored[name] - float(ended[name])) < 0.01 for name in names)
    # What the killed worker had not stored yet is a tenth of a second.
    assert all(0.5 < seconds <= lasted + 0.2 for seconds in stored.values())


def test_a_stop_stores_what_waits_and_a_new_start_ends_what_is_silent(file: Path) -> None:
    """A stop stores what waits; a new start ends what has been silent since."""
    with serving(file, "60s", "61s") as server:
        beat(server, ["a", "b"])
        assert ask(file, "SELECT count(*) FROM sessions") == [(0,)]
    stored = ask(file, "SELECT id, ended_at FROM sessions ORDER BY id")
    assert stored == [("a", None), ("b", None)], server.log
    # Nobody beats any more.
    with serving(file, "0.1s", "0.3s"):
        await_true(
            lambda: ask(file, "SELECT count(ended_at) FROM sessions") == [(2,)], "the sessions' end"
        )
