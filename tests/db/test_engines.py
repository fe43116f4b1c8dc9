"""Engines where no server is needed: SQLite, what they are made of, and when."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from tonnage import db
from tonnage.budget.connections import CONNECTION_BYTES
from tonnage.errors import ConfigError, DatabaseAwayError, PoolBusyError
from tonnage.governor.consumers import registry


def url(tmp_path: Path, parameters: str = "") -> str:
    """Return the URL of a file."""
    return f"sqlite:///{tmp_path}/app.db{parameters}"


def test_an_engine_is_sqlalchemys_own(tmp_path: Path) -> None:
    """An engine is SQLAlchemy's own."""
    engine = db.engine(url(tmp_path))
    assert type(engine) is Engine
    with Session(engine) as session:
        assert session.scalar(text("SELECT 1")) == 1
    engine.dispose()


async def test_an_asynchronous_engine_is_sqlalchemys_own(tmp_path: Path) -> None:
    """An asynchronous engine is SQLAlchemy's own."""
    engine = db.async_engine(url(tmp_path))
    assert type(engine) is AsyncEngine
    async with AsyncSession(engine) as session:
        assert await session.scalar(text("SELECT 1")) == 1
    await engine.dispose()


@pytest.mark.parametrize("statement", ["INSERT INTO kept VALUES (1)", "BEGIN IMMEDIATE"])
def test_a_file_that_is_locked_for_too_long_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """Who waits for a file's lock is told to come again; the connection stays."""
    monkeypatch.setenv("TONNAGE_LOCK_TIMEOUT", "100ms")
    engine = db.engine(url(tmp_path))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (id)")
    other = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with engine.connect() as connection:
        with pytest.raises(DatabaseAwayError, match="is locked") as refused:
            connection.exec_driver_sql(statement)
        assert refused.value.problem.status == 503
        assert isinstance(refused.value.__cause__, sqlite3.OperationalError)
        other.execute("COMMIT")
        connection.exec_driver_sql(statement)
    engine.dispose()
    other.close()


async def test_an_asynchronous_engine_says_so_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An asynchronous engine says so too."""
    monkeypatch.setenv("TONNAGE_LOCK_TIMEOUT", "100ms")
    engine = db.async_engine(url(tmp_path))
    async with engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE kept (id)")
    other = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with engine.connect() as connection:
        with pytest.raises(DatabaseAwayError, match="is locked"):
            await connection.exec_driver_sql("INSERT INTO kept VALUES (1)")
    await engine.dispose()
    other.close()


def test_the_options_name_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The options name the database."""
    monkeypatch.setenv("DATABASE_URL", url(tmp_path))
    engine = db.engine()
    with engine.connect():
        assert (tmp_path / "app.db").exists()
    engine.dispose()


def test_without_a_url_there_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a url there is no engine."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ConfigError, match="set DATABASE_URL"):
        db.engine()


def test_arguments_of_sqlalchemy_are_passed_on(tmp_path: Path) -> None:
    """Arguments of sqlalchemy are passed on."""
    engine = db.engine(
        url(tmp_path),
        execution_options={"isolation_level": "AUTOCOMMIT"},
        connect_args={"cached_statements": 7},
    )
    assert engine.get_execution_options()["isolation_level"] == "AUTOCOMMIT"


@pytest.mark.parametrize(
    ("argument", "instead"),
    [("pool_size", "connection_limit"), ("poolclass", "create_engine"), ("max_overflow", "none")],
)
def test_the_pool_is_ours_and_the_error_says_what_to_write(
    tmp_path: Path, argument: str, instead: str
) -> None:
    """The pool is ours and the error says what to write."""
    given: dict[str, Any] = {argument: 3}
    with pytest.raises(ConfigError, match=f"takes no {argument}: .*{instead}"):
        db.engine(url(tmp_path), **given)


def test_an_argument_that_sqlalchemy_does_not_know_is_an_error(tmp_path: Path) -> None:
    """An argument that sqlalchemy does not know is an error."""
    with pytest.raises(ConfigError, match=r"no engine can be made: .*speed"):
        db.engine(url(tmp_path), speed=3)


def test_a_database_in_memory_keeps_its_one_connection() -> None:
    """A database in memory keeps its one connection."""
    engine = db.engine("sqlite:///:memory:?pool_timeout=0.01", name="memory")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (body TEXT)"))
    assert registry.shrink("memory", 0) == 0
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM notes")).scalar() == 0
        with pytest.raises(PoolBusyError, match="all 1 connections of memory"):
            engine.connect()
    assert db.statistics()["memory"].limit == 1
    engine.dispose()


async def test_many_tasks_share_a_file(tmp_path: Path) -> None:
    """Many tasks share a file."""
    engine = db.async_engine(url(tmp_path, "?connection_limit=2"), name="shared_file")
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE notes (number INTEGER)"))

    async def write(number: int) -> None:
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO notes VALUES (:n)"), {"n": number})

    await asyncio.gather(*(write(number) for number in range(40)))
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM notes"))).scalar() == 40
    assert db.statistics()["shared_file"].open <= 2
    await engine.dispose()


def test_engines_without_a_limit_share_what_the_worker_may_have(tmp_path: Path) -> None:
    """Engines without a limit share what the worker may have."""
    run(
        "from tonnage import db\n"
        "from tonnage.db.settings import use_share\n"
        f"made = [db.engine({url(tmp_path)!r}, name=name) for name in ('one', 'other')]\n"
        "use_share(4)\n"
        "for each in made:\n"
        "    each.connect().close()\n"
        "found = db.statistics()\n"
        "assert [found[name].limit for name in ('one', 'other')] == [2, 2], found\n"
    )


def test_a_pool_says_what_it_may_hold_and_what_it_holds(tmp_path: Path) -> None:
    """A pool says what it may hold and what it holds."""
    engine = db.engine(url(tmp_path, "?connection_limit=3"), name="bounded_bytes")
    assert dict(registry.bounds())["bounded_bytes"] == 3 * CONNECTION_BYTES
    with engine.connect():
        uses = {use.name: use.used_bytes for use in registry.uses()}
        assert uses["bounded_bytes"] == CONNECTION_BYTES
    engine.dispose()


def test_where_no_thread_can_close_them_connections_rest_on(tmp_path: Path) -> None:
    """They are places of their pool all the same."""
    run(
        "import asyncio, resource\n"
        "from pathlib import Path\n"
        "from tonnage import db\n"
        "from tonnage.governor.consumers import registry\n"
        "from tonnage.stores.background import background\n"
        f"engine = db.engine({url(tmp_path)!r}, name='it')\n"
        "engine.connect().close()\n"
        # As where memory is short, which is when it is wanted back: a stack has no room.
        "before = resource.getrlimit(resource.RLIMIT_AS)\n"
        "pages = int(Path('/proc/self/statm').read_text().split()[0])\n"
        "most_bytes = pages * resource.getpagesize() + 4 * 2**20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most_bytes, before[1]))\n"
        "registry.shrink('it', 0)\n"
        "background().start(asyncio.sleep(0)).result(5)\n"
        "resource.setrlimit(resource.RLIMIT_AS, before)\n"
        "found = db.statistics()['it']\n"
        "assert (found.in_use, found.idle) == (0, 1), found\n"
    )


def test_where_no_thread_can_be_begun_for_the_first_connection_it_is_none(tmp_path: Path) -> None:
    """The next is one, and is closed when Python ends."""
    said = run(
        "import threading\n"
        "from sqlalchemy import event\n"
        "from tonnage import db\n"
        f"engine = db.engine({url(tmp_path)!r}, name='it')\n"
        # More than there are addresses.
        "before = threading.stack_size(3 * 2**45)\n"
        "try:\n"
        "    engine.connect()\n"
        "    raise SystemExit('a thread was begun')\n"
        "except RuntimeError:\n"
        "    threading.stack_size(before)\n"
        "engine.connect().close()\n"
        "assert db.statistics()['it'].open == 1\n"
        "event.listen(engine, 'close', lambda *_: print('closed'))\n"
    )
    assert said == "closed\n"


def test_a_connection_that_is_not_closed_for_an_interrupt_costs_no_place_of_another(
    tmp_path: Path,
) -> None:
    """Nor does it keep another one open."""
    engine = db.engine(url(tmp_path, "?connection_limit=3"), name="interrupted")
    for _ in range(2):
        with engine.connect(), engine.connect(), engine.connect():
            pass

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    event.listen(engine, "close", interrupt, once=True)
    with pytest.raises(KeyboardInterrupt):
        engine.dispose()
    found = db.statistics()["interrupted"]
    assert (found.in_use, found.idle) == (0, 0)


def test_after_dispose_an_engine_goes_on_and_old_connections_are_closed(tmp_path: Path) -> None:
    """After dispose an engine goes on and old connections are closed."""
    engine = db.engine(url(tmp_path, "?connection_limit=1"), name="disposed")
    with engine.connect() as old:
        engine.dispose()
        with engine.connect() as new:
            assert new.execute(text("SELECT 1")).scalar() == 1
        assert old.execute(text("SELECT 1")).scalar() == 1
    found = db.statistics()["disposed"]
    assert (found.opened_total, found.closed_total, found.open) == (2, 1, 1)
    engine.dispose()


def test_what_a_connection_was_told_is_undone_before_another_gets_it(tmp_path: Path) -> None:
    """What a connection was told is undone before another gets it."""
    engine = db.engine(url(tmp_path, "?connection_limit=1"))
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE notes (body TEXT)"))
        connection.execute(text("INSERT INTO notes VALUES ('half')"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM notes")).scalar() == 0
    engine.dispose()


def test_importing_costs_nothing_that_is_heavy() -> None:
    """Importing costs nothing that is heavy."""
    run(
        "from tonnage import db\n"
        "heavy = {'sqlalchemy', 'asyncpg', 'psycopg', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )


def test_an_end_of_python_closes_connections_without_complaint(tmp_path: Path) -> None:
    """An end of python closes connections without complaint."""
    said = run(
        "import asyncio, logging\n"
        "from sqlalchemy import text\n"
        "from tonnage import db\n"
        "logging.basicConfig(level=logging.INFO, format='%(message)s')\n"
        f"engine = db.engine({url(tmp_path)!r}, name='one')\n"
        f"other = db.async_engine({url(tmp_path)!r}, name='other')\n"
        "async def main():\n"
        "    async with other.connect() as connection:\n"
        "        await connection.execute(text('SELECT 1'))\n"
        "asyncio.run(main())\n"
        "with engine.connect() as connection:\n"
        "    connection.execute(text('SELECT 1'))\n"
    )
    for name in ("one", "other"):
        assert f"database connection closed: {name}" in said
    assert "Warning" not in said
    assert "Traceback" not in said


def run(code: str) -> str:
    """Run *code* in another Python; return what it printed."""
    command: list[Any] = [sys.executable, "-W", "always", "-c", f"import sys\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
