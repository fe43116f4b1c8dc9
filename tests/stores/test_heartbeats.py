"""Heartbeats: sessions in real databases, over workers, restarts and outages."""

from __future__ import annotations

import asyncio
import datetime
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, create_engine, event, text
from sqlalchemy.ext.asyncio import create_async_engine
from tests.support.clock import Clock
from tests.support.forking import await_in_child, fork, status_of
from tests.support.waiting import await_true

from tonnage import Heartbeats
from tonnage.errors import ConfigError
from tonnage.stores.background import background, begin
from tonnage.stores.heartbeats.sessions import Session

BEGAN = 1_800_000_000.0


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database with an empty table of sessions."""
    if request.param == "sqlite":
        where = f"sqlite+aiosqlite:///{tmp_path / 'app.db'}"
    else:
        where = request.getfixturevalue("postgres_url")
        where = where.replace("postgresql:", "postgresql+asyncpg:")
    metadata = MetaData()
    Heartbeats.table(metadata, Column("player", Integer), Column("city", String))

    async def create() -> None:
        engine = create_async_engine(where)
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await engine.dispose()

    asyncio.run(create())
    return where.replace("+aiosqlite", "")


@asynccontextmanager
async def beating(url: str | Engine, clock: Clock, **given: Any) -> AsyncIterator[Heartbeats]:
    """Yield heartbeats that are closed in the end."""
    heartbeats = Heartbeats(url, clock=clock, **given)
    try:
        yield heartbeats
    finally:
        await heartbeats.close()


async def rows(url: str) -> list[tuple[Any, ...]]:
    """Return all sessions: times as seconds since the beginning."""
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    if engine.dialect.name == "sqlite":
        at = "round((julianday({0}) - 2440587.5) * 86400 - {1}, 2)"
    else:
        at = "round(extract(epoch from {0}) - {1}, 2)::float"
    times = [at.format(name, BEGAN) for name in ("started_at", "last_beat_at", "ended_at")]
    query = f"SELECT id, {', '.join(times)}, duration_seconds, player, city FROM sessions"
    async with engine.connect() as connection:
        found = (await connection.execute(text(f"{query} ORDER BY id"))).all()
    await engine.dispose()
    return [tuple(round(v, 2) if isinstance(v, float) else v for v in row) for row in found]


async def test_a_session_lasts_from_its_first_beat_to_its_last(url: str) -> None:
    """A session lasts from its first beat to its last; silent for longer, it has ended."""
    clock = Clock(BEGAN)
    ended: list[Session] = []
    async with beating(url, clock, on_end=ended.append) as heartbeats:
        await heartbeats.beat("a", player=7)
        clock.seconds += 30.5
        assert heartbeats.beat_sync("a", city="Ulm")
        await heartbeats.beat("b")
        assert heartbeats.statistics().waiting == 2
        await heartbeats.writer.flush()
        assert heartbeats.statistics().waiting == 0
        clock.seconds += 100
        await heartbeats.beat("b", city="Bonn")
        assert await heartbeats.sweep() == 0
        clock.seconds += 30
        assert await heartbeats.sweep() == 1
        assert await heartbeats.sweep() == 0
        statistics = heartbeats.statistics()
    assert await rows(url) == [
        ("a", 0, 30.5, 30.5, 30.5, 7, "Ulm"),
        ("b", 30.5, 130.5, None, None, None, "Bonn"),
    ]
    began = datetime.datetime.fromtimestamp(BEGAN, datetime.UTC)
    [session] = ended
    assert (session.id, session.started_at) == ("a", began)
    assert session.ended_at - began == datetime.timedelta(seconds=30.5)
    assert session.duration_seconds == pytest.approx(30.5, abs=0.001)
    # Three records for four beats: one for each session and flush.
    assert (statistics.beats, statistics.writer.total_flushed, statistics.ended) == (4, 3, 1)


async def test_a_session_that_beats_again_goes_on(url: str) -> None:
    """A session that beats again goes on from its first beat, and ends once more."""
    clock = Clock(BEGAN)
    ended: list[str] = []

    async def note(session: Session) -> None:
        ended.append(session.id)

    async with beating(url, clock, on_end=note) as heartbeats:
        for _ in range(2):
            await heartbeats.beat("a")
            await heartbeats.writer.flush()
            clock.seconds += 200
            await heartbeats.sweep()
    assert await rows(url) == [("a", 0, 200, 200, 200, None, None)]
    assert ended == ["a", "a"]


async def test_what_is_told_of_a_session_is_not_which_one_it_is(url: str) -> None:
    """Nor when it began: of what waits to be stored as little as of what is new."""
    clock = Clock(BEGAN)
    async with beating(url, clock) as heartbeats:
        for later in range(3):
            clock.seconds = BEGAN + later
            await heartbeats.beat("a", id="b", started_at=None, player=later)
        await heartbeats.writer.flush()
        assert heartbeats.statistics().waiting == 0
    assert await rows(url) == [("a", 0, 2, None, None, 2, None)]


async def test_what_is_closed_does_not_begin_with_the_worker(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It has been closed by the application, as at a startup that only looks."""
    async with beating(url, Clock(BEGAN), sweep_seconds=0.01) as heartbeats:
        pass
    begin()
    await asyncio.sleep(0.1)
    assert heartbeats.statistics().sweeps == 0
    assert not caplog.messages


async def test_beats_may_arrive_in_any_order(url: str) -> None:
    """Beats may arrive in any order and twice, from several workers, before and after the end."""
    early, late = Clock(BEGAN), Clock(BEGAN)
    late.seconds += 50
    async with beating(url, early) as first, beating(url, late) as second:
        await second.beat("a", city="new")
        await second.writer.flush()
        await first.beat("a", city="old", player=1)
        await first.writer.flush()
        assert await rows(url) == [("a", 0, 50, None, None, None, "new")]
        late.seconds += 200
        assert await second.sweep() == 1
        # Older than its end: nothing changes, not even its beginning.
        early.seconds -= 10
        await first.beat("a", city="older")
        await first.writer.flush()
        assert await rows(url) == [("a", 0, 50, 50, 50, None, "new")]


async def test_a_sweep_ends_so_many_and_the_longest_silent_first(url: str) -> None:
    """A sweep ends so many at most, the longest silent first; two at once end none twice."""
    clock = Clock(BEGAN)
    ended: list[str] = []
    given: dict[str, Any] = {"most_a_sweep": 20, "on_end": lambda each: ended.append(each.id)}
    async with beating(url, clock, **given) as first, beating(url, clock, **given) as second:
        for number in range(100):
            clock.seconds += 0.1
            await first.beat(f"{number:03}")
        await first.writer.flush()
        clock.seconds += 121
        assert await first.sweep() == 20
        assert sorted(ended) == [f"{number:03}" for number in range(20)]
        counts = await asyncio.gather(*(each.sweep() for each in [first, second] * 3))
        assert sum(counts) == len(ended) - 20
        while await first.sweep():
            pass
    assert sorted(ended) == [f"{number:03}" for number in range(100)]


async def test_by_itself_it_sweeps_and_hurries_when_there_are_more(url: str) -> None:
    """By itself it sweeps, and again soon when there are more."""
    clock = Clock(BEGAN)
    last = threading.Event()
    ended: list[str] = []

    def note(session: Session) -> None:
        ended.append(session.id)
        if len(ended) == 5:
            last.set()

    given: dict[str, Any] = {"sweep_seconds": 0.02, "most_a_sweep": 2, "on_end": note}
    async with beating(url, clock, **given) as heartbeats:
        for number in range(5):
            await heartbeats.beat(str(number))
        await heartbeats.writer.flush()
        clock.seconds += 121
        assert await asyncio.to_thread(last.wait, 10)
    assert sorted(ended) == ["0", "1", "2", "3", "4"]


async def test_what_does_not_fit_is_dropped_and_counted(url: str) -> None:
    """Beats of more sessions than there is room for are dropped and counted; known ones are not."""
    clock = Clock(BEGAN)
    async with beating(url, clock, max_sessions=10, flush_seconds=60) as heartbeats:
        async with held(heartbeats):
            taken = [await heartbeats.beat(str(number)) for number in range(25)]
            assert taken[:10] == [True] * 10
            assert await heartbeats.beat("9") in (True, False)
            statistics = heartbeats.statistics()
            assert statistics.writer.buffer_size <= 10
            assert statistics.writer.total_dropped == taken.count(False) >= 14
        await heartbeats.writer.flush()
    assert len(await rows(url)) == taken.count(True)


@asynccontextmanager
async def held(heartbeats: Heartbeats) -> AsyncIterator[None]:
    """Keep the event loop of all stores busy, so that nothing is stored meanwhile."""
    go_on = threading.Event()
    background().call(go_on.wait, 10)
    try:
        yield
    finally:
        go_on.set()


async def test_a_forked_worker_has_sessions_of_its_own(url: str) -> None:
    """A forked worker has sessions of its own; nothing is stored twice, and nothing lost."""
    clock = Clock(BEGAN)
    async with beating(url, clock, flush_seconds=60) as heartbeats:
        await heartbeats.beat("parent")

        def run() -> None:
            assert heartbeats.statistics().writer.buffer_size == 0
            clock.seconds += 5
            heartbeats.beat_sync("child")
            heartbeats.beat_sync("parent")
            background().start(heartbeats.close()).result(10)

        assert await asyncio.to_thread(status_of, fork(run)) == 0
        assert [row[0] for row in await rows(url)] == ["child", "parent"]
    assert [row[:3] for row in await rows(url)] == [("child", 5, 5), ("parent", 0, 5)]


async def test_a_child_that_has_taken_no_beat_closes_nothing_of_its_parents(url: str) -> None:
    """What the parent has taken is stored by the parent."""
    async with beating(url, Clock(BEGAN), flush_seconds=60) as heartbeats:
        await heartbeats.beat("parent")
        assert await await_in_child(heartbeats.close) == 0
        assert await rows(url) == []
        assert heartbeats.statistics().waiting == 1
    assert [row[0] for row in await rows(url)] == ["parent"]


async def test_nobody_is_ended_for_an_outage(tmp_path: Path) -> None:
    """Nobody is ended for an outage of the database: others may still hold beats."""
    file = tmp_path / "app.db"
    url = f"sqlite:///{file}"
    clock = Clock(BEGAN)
    async with beating(url, clock, flush_seconds=0.01) as heartbeats:
        await heartbeats.beat("a")
        # There is no table yet.
        await asyncio.to_thread(
            await_true, lambda: heartbeats.writer.statistics().is_failing, "the writer to fail"
        )
        metadata = MetaData()
        Heartbeats.table(metadata)
        engine = create_engine(url)
        await asyncio.to_thread(metadata.create_all, engine)
        engine.dispose()
        await heartbeats.writer.flush()
        with closing(sqlite3.connect(file)) as connection:
            connection.execute(
                "INSERT INTO sessions (id, started_at, last_beat_at) VALUES ('b', ?, ?)",
                ("2020-01-01 00:00:00.000000",) * 2,
            )
            connection.commit()
        assert await heartbeats.sweep() == 0
        clock.seconds += 119
        assert await heartbeats.sweep() == 0
        clock.seconds += 1
        await heartbeats.beat("a")
        assert await heartbeats.sweep() == 1


async def test_who_is_not_told_of_has_not_ended(tmp_path: Path) -> None:
    """A sweep that is cut short by a stop ends nobody: the next one does, and tells."""
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    metadata = MetaData()
    Heartbeats.table(metadata)
    metadata.create_all(engine)
    clock = Clock(BEGAN)
    begun, go_on = threading.Event(), threading.Event()

    def hold(connection: object, cursor: object, statement: str, *others: object) -> None:
        if "duration_seconds=" in statement and not statement.startswith("INSERT"):
            begun.set()
            go_on.wait(10)

    async with beating(engine, clock, sweep_seconds=0.02) as heartbeats:
        await heartbeats.beat("a")
        await heartbeats.writer.flush()
        event.listen(engine, "after_cursor_execute", hold)
        clock.seconds += 121
        assert await asyncio.to_thread(begun.wait, 10)
    assert heartbeats.statistics().ended == 0
    go_on.set()
    told: list[str] = []
    async with beating(engine, clock, on_end=lambda session: told.append(session.id)) as heartbeats:
        assert await heartbeats.sweep() == 1
    assert told == ["a"]
    engine.dispose()


async def test_an_error_of_on_end_is_logged(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """An error of on_end is logged, and the others are told."""
    clock = Clock(BEGAN)
    told: list[str] = []

    def fail(session: Session) -> None:
        told.append(session.id)
        raise ValueError("broken")

    async with beating(url, clock, on_end=fail) as heartbeats:
        await heartbeats.beat("a")
        await heartbeats.beat("b")
        await heartbeats.writer.flush()
        clock.seconds += 121
        assert await heartbeats.sweep() == 2
    assert sorted(told) == ["a", "b"]
    assert "on_end has failed" in caplog.text


@pytest.mark.parametrize("session_id", ["", "x" * 201])
async def test_an_id_has_a_length(tmp_path: Path, session_id: str) -> None:
    """An id is neither empty nor too long."""
    heartbeats = Heartbeats(f"sqlite:///{tmp_path / 'app.db'}")
    with pytest.raises(ValueError, match="1 to 200 characters"):
        await heartbeats.beat(session_id)
    assert heartbeats.statistics().beats == 0


@pytest.mark.parametrize(
    "given",
    [
        {"most_a_sweep": 0},
        {"sweep_seconds": 0},
        {"silence_seconds": 5},
        {"where": "mysql+pymysql://there/base"},
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    """What makes no sense is refused."""
    with pytest.raises(ConfigError):
        Heartbeats(**{"where": "sqlite:///app.db", **given})


async def test_a_sweep_that_fails_is_one_short_line(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A sweep that fails is one short line, without the statement."""
    table = Heartbeats.table(MetaData(), name="elsewhere")
    given: dict[str, Any] = {"silence_seconds": 60, "sweep_seconds": 0.01}
    async with beating(url, Clock(BEGAN), table=table, **given) as heartbeats:
        heartbeats.start()
        await asyncio.to_thread(await_true, lambda: caplog.messages, "a line")
    line = caplog.messages[0]
    assert line.startswith("heartbeats: no sessions are ended now: ")
    assert "elsewhere" in line
    assert "UPDATE" not in line
    assert len(line) < 200
