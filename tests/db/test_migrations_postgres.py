"""Migrations of a real PostgreSQL: several at once, one that is killed, a table that is locked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from tests.support.migrations import ASYNC_ENV, start_migrate, write_migrations
from tests.support.waiting import await_true

from tonnage.cli.main import main
from tonnage.db.upgrade.locks import LOCK_NUMBER

pytestmark = pytest.mark.real

EVENTS = 'op.create_table("events", sa.Column("id", sa.Integer, primary_key=True))'
SEATS = 'op.add_column("events", sa.Column("seats", sa.Integer))'
LOCKED = (
    "SELECT count(*)::int FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND relation = to_regclass('events')"
)


@pytest.fixture
def url(new_postgres_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a database of the test's own, which DATABASE_URL names."""
    made = new_postgres_url()
    monkeypatch.setenv("DATABASE_URL", made)
    return made


def asked(url: str, statement: str) -> list[tuple[object, ...]]:
    """Return the rows of *statement*."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_four_processes_at_once_migrate_once(url: str, tmp_path: Path) -> None:
    """One does it; the others wait, and find nothing to do."""
    write_migrations(tmp_path, EVENTS, SEATS)
    with psycopg.connect(url, autocommit=True) as first:
        first.execute(f"SELECT pg_advisory_lock({LOCK_NUMBER})".encode())
        processes = [start_migrate("--json", str(tmp_path), url=url) for _ in range(4)]
        for process in processes:
            assert process.stderr is not None
            assert process.stderr.readline() == "waiting for another process that migrates\n"
    told = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, told
    assert sorted(len(json.loads(out)["applied"]) for out, _ in told) == [0, 0, 0, 2]


def test_when_one_is_killed_the_next_goes_on(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its lock ends with it, and what it was doing is undone."""
    write_migrations(
        tmp_path, EVENTS, 'op.execute("ALTER TABLE events ADD seats int")\ntime.sleep(60)'
    )
    first = start_migrate(str(tmp_path), url=url)
    await_true(lambda: asked(url, LOCKED) == [(1,)], "the second one to have begun", 20)
    first.kill()
    first.communicate(timeout=10)

    write_migrations(tmp_path, EVENTS, SEATS)
    assert main(["db", "migrate", str(tmp_path)]) == 0
    assert "1 migration applied" in capsys.readouterr().out


def test_a_locked_table_is_not_waited_for_long(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The queries that would queue behind the migration go on; the version before it stays."""
    write_migrations(tmp_path, EVENTS, SEATS)
    write_migrations(only_first := tmp_path / "first", EVENTS)
    assert main(["db", "migrate", str(only_first)]) == 0
    with psycopg.connect(url) as reader:
        reader.execute("SELECT * FROM events")
        assert main(["db", "migrate", str(tmp_path), "--lock-timeout", "200ms"]) == 1
    told = capsys.readouterr().err
    assert "migration 0002 has failed, the database is at 0001: LockNotAvailable" in told
    assert main(["db", "migrate", str(tmp_path)]) == 0


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_each_driver_does_it(
    url: str, tmp_path: Path, driver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A statement that runs too long is ended with either of them; a failed step is undone."""
    write_migrations(tmp_path, EVENTS, SEATS + '\nop.execute("SELECT pg_sleep(20)")')
    there = url.replace("postgresql://", f"postgresql+{driver}://")
    words = ["db", "migrate", str(tmp_path), "--url", there, "--statement-timeout", "300ms"]
    assert main(words) == 1
    printed = capsys.readouterr()
    assert "migration 0002 has failed, the database is at 0001: " in printed.err
    assert "statement timeout" in printed.err
    assert "0002_step.py, line " in printed.err
    assert asked(url, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert asked(url, "SELECT column_name FROM information_schema.columns WHERE table_name='events'"
                 ) == [("id",)]  # fmt: skip


def test_an_index_can_be_made_while_others_write(url: str, tmp_path: Path) -> None:
    """That is outside of any transaction; neither our lock nor those who ask for it are in its way.

    Were they to wait for the lock in a statement, it would wait for them.
    """
    write_migrations(
        tmp_path,
        EVENTS,
        """
        with op.get_context().autocommit_block():
            op.create_index("by_id", "events", ["id"], postgresql_concurrently=True)
        """,
    )
    other = start_migrate(str(tmp_path), url=url)
    assert main(["db", "migrate", str(tmp_path)]) == 0
    assert other.communicate(timeout=60)[1] == ""
    assert other.returncode == 0
    assert asked(url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_id'::regclass") == [
        (True,)
    ]


def test_an_asynchronous_environment_is_bounded_too(url: str, tmp_path: Path) -> None:
    """Its engine is its own; the time-outs are ours."""
    write_migrations(tmp_path, EVENTS, 'op.execute("SELECT pg_sleep(20)")', env=ASYNC_ENV)
    process = start_migrate(str(tmp_path), "--statement-timeout", "300ms", url=url)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    # Its environment makes all steps one transaction.
    assert "migration 0002 has failed, the database is at no version" in errors


def test_an_asynchronous_environment_is_given_libpqs_parameters(url: str, tmp_path: Path) -> None:
    """Which SQLAlchemy would hand on to asyncpg as they are."""
    write_migrations(tmp_path, EVENTS, env=ASYNC_ENV)
    there = f"{url}&sslmode=disable&application_name=mover"
    process = start_migrate(str(tmp_path), "--json", url=there)
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, errors.count("Error")) == (0, 0), errors
    assert json.loads(out)["after"] == ["0001"]


def test_an_index_that_a_failure_has_left_is_hinted_at(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It waits for old transactions; without a limit for that, and with a drop, it goes through."""
    making = 'op.create_index("by_id", "events", ["id"], postgresql_concurrently=True)'
    write_migrations(tmp_path, EVENTS, f"with op.get_context().autocommit_block():\n    {making}")
    write_migrations(only_first := tmp_path / "first", EVENTS)
    assert main(["db", "migrate", str(only_first)]) == 0
    with psycopg.connect(url) as old:
        old.execute("INSERT INTO events DEFAULT VALUES")
        assert main(["db", "migrate", str(tmp_path), "--lock-timeout", "200ms"]) == 1
    assert main(["db", "migrate", str(tmp_path)]) == 1
    assert "a CREATE INDEX CONCURRENTLY that failed may have left it" in capsys.readouterr().err
    write_migrations(
        tmp_path,
        EVENTS,
        f"""
        with op.get_context().autocommit_block():
            op.execute("SET lock_timeout = 0")
            op.execute("DROP INDEX CONCURRENTLY IF EXISTS by_id")
            {making}
        """,
    )
    assert main(["db", "migrate", str(tmp_path)]) == 0


def test_a_schema_in_the_url_is_where_tables_are_made(url: str, tmp_path: Path) -> None:
    """Prisma's parameter, for migrations too."""
    asked(url, "CREATE SCHEMA shop")
    write_migrations(tmp_path, EVENTS)
    assert main(["db", "migrate", str(tmp_path), "--url", f"{url}&schema=shop"]) == 0
    assert asked(url, "SELECT schemaname FROM pg_tables WHERE tablename = 'events'") == [("shop",)]


def test_a_server_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the password."""
    write_migrations(tmp_path / "steps", EVENTS)
    there = f"postgresql://me:s3cret@/shop?host={tmp_path}"
    assert main(["db", "migrate", str(tmp_path / "steps"), "--url", there]) == 1
    told = capsys.readouterr().err
    assert told.startswith("tonnage: error: postgresql://me:***@")
    assert "/shop cannot be connected to: " in told
    assert told.count("\n") == 1
    assert "s3cret" not in told
