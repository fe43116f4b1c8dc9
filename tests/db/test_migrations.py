"""Migrations as a deploy step, with SQLite: what is applied, told, refused and undone."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.migrations import ASYNC_ENV, SYNC_ENV, start_migrate, write_migrations
from tests.support.waiting import await_true

from tonnage import db
from tonnage.cli.main import main
from tonnage.errors import ConfigError, DatabaseError

EVENTS = 'op.create_table("events", sa.Column("id", sa.Integer, primary_key=True))'
SEATS = 'op.add_column("events", sa.Column("seats", sa.Integer))'
BROKEN = 'op.create_table("halves", sa.Column("id", sa.Integer))\nraise ValueError("no\\nmore")'


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that DATABASE_URL names, which is not there yet; its directory is current."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "sqlite:///app.db")
    return tmp_path / "app.db"


def tables(database: Path) -> set[str]:
    """Return the names of the tables in *database*."""
    with sqlite3.connect(database) as connection:
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    return found


def test_what_is_pending_is_applied_and_told(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each migration is a line, the end is another; a second time there is nothing to do."""
    write_migrations(database.parent / "migrations", EVENTS, SEATS)

    assert main(["db", "migrate"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sqlite:///app.db, migrations of migrations"
    assert [line.split()[0] for line in lines[1:3]] == ["0001", "0002"]
    assert lines[1].endswith(" s  Step 1.")
    assert lines[3].startswith("2 migrations applied in ")
    assert lines[3].endswith("; the database is at 0002")

    assert main(["db", "migrate"]) == 0
    assert capsys.readouterr().out.endswith("nothing to do; the database is at 0002\n")
    assert "events" in tables(database)


def test_a_check_changes_nothing(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 1 while something is pending, with 0 afterwards, and makes no file."""
    write_migrations(database.parent / "migrations", EVENTS)

    assert main(["db", "migrate", "--check"]) == 1
    assert "1 migration pending: 0001; the database is at no version" in capsys.readouterr().out
    assert list(database.parent.iterdir()) == [database.parent / "migrations"]

    main(["db", "migrate"])
    capsys.readouterr()
    assert main(["db", "migrate", "--check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["after"], found["pending"], found["applied"]) == (["0001"], [], [])


def test_a_failed_migration_is_undone_and_the_one_before_it_stays(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLite too takes back a table that was made; status 1, one line, and the line at fault."""
    write_migrations(database.parent / "migrations", EVENTS, BROKEN)

    assert main(["db", "migrate"]) == 1
    told = capsys.readouterr().err
    assert told == (
        "tonnage: error: migration 0002 has failed, the database is at 0001: "
        "ValueError: no more (0002_step.py, line 9)\n"
    )
    assert "events" in tables(database)
    assert "halves" not in tables(database)


def test_foreign_keys_do_not_delete_rows_while_a_table_is_made_anew(database: Path) -> None:
    """A batch operation drops the old table; with foreign keys on, rows that refer to it go too."""
    write_migrations(
        database.parent / "migrations",
        """
        op.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, name TEXT)")
        op.execute(
            "CREATE TABLE seats (event INTEGER REFERENCES events ON DELETE CASCADE)"
        )
        op.execute("INSERT INTO events VALUES (1, 'run')")
        op.execute("INSERT INTO seats VALUES (1)")
        """,
        """
        with op.batch_alter_table("events", recreate="always") as batch:
            batch.alter_column("name", new_column_name="title")
        """,
    )
    assert main(["db", "migrate"]) == 0
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM seats").fetchone() == (1,)
    connection.close()


def test_another_process_is_waited_for_within_bounds(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who waits says so; when it takes too long, the error says what to do."""
    write_migrations(database.parent / "migrations", EVENTS)
    with open(database.with_name("app.db.migration-lock"), "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["db", "migrate", "--wait", "0.3s"]) == 1
    printed = capsys.readouterr()
    assert "waiting for another process that migrates" in printed.out
    assert "has been migrating sqlite:///app.db for 0.3 s" in printed.err
    assert main(["db", "migrate"]) == 0
    assert not database.with_name("app.db.migration-lock").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there are no migrations here (alembic.ini, migrations, alembic)"),
        (["nowhere"], "nowhere has no migrations"),
    ],
)
def test_a_place_without_migrations_is_a_mistake(
    database: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2 and one line."""
    assert main(["db", "migrate", *words]) == 2
    assert message in capsys.readouterr().err
    assert not database.exists()


def test_a_version_that_nobody_knows_is_refused(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as after going back to older code."""
    write_migrations(database.parent / "migrations", EVENTS, SEATS)
    main(["db", "migrate"])
    (database.parent / "migrations" / "versions" / "0002_step.py").unlink()
    assert main(["db", "migrate"]) == 1
    told = capsys.readouterr().err
    assert "'0002'" in told
    assert "sqlite:///app.db is at '0002', which migrations does not have: newer code" in told
    assert "To go back to older code" in told


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("down_revision = '0009'\n", "Revision 0009 referenced from 0009 -> 0002 (head)"),
        ("def upgrade(:\n", "SyntaxError: "),
        ("import nothing_like_it\n", "No module named 'nothing_like_it' (0002_step.py, line 1)"),
    ],
)
def test_a_mistake_in_the_migrations_is_not_the_databases(
    database: Path, body: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, which names the directory; nothing is asked or made."""
    write_migrations(database.parent / "migrations", EVENTS)
    step = database.parent / "migrations" / "versions" / "0002_step.py"
    step.write_text(body + "revision = '0002'\n")
    assert main(["db", "migrate"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("tonnage: error: the migrations of migrations cannot be read: ")
    assert message in told
    assert told.count("\n") == 1
    assert not database.exists()


def test_a_check_is_not_held_up_by_a_writer(database: Path) -> None:
    """It reads, and so takes no lock that one has."""
    write_migrations(database.parent / "migrations", EVENTS)
    assert main(["db", "migrate"]) == 0
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert main(["db", "migrate", "--check", "--lock-timeout", "100ms"]) == 0
        writer.execute("ROLLBACK")


@pytest.mark.real
def test_what_a_migration_prints_is_no_part_of_the_json(database: Path) -> None:
    """Nor what a program prints that it starts."""
    printing = EVENTS + '\nprint("making events")\nimport os; os.system("echo by a program")'
    directory = write_migrations(database.parent / "steps", printing)
    process = start_migrate("--json", "steps", url="sqlite:///app.db", directory=database.parent)
    out, errors = process.communicate(timeout=30)
    assert json.loads(out)["after"] == ["0001"]
    assert {"making events", "by a program"} <= set(errors.splitlines())

    database.unlink()
    assert db.migrate(directory).after == ("0001",)
    database.unlink()
    assert main(["db", "migrate", "--json", str(directory)]) == 0


@pytest.mark.real
def test_options_in_a_pyproject_count(database: Path) -> None:
    """As `alembic init -t pyproject` writes them, beside an alembic.ini without a directory."""
    write_migrations(database.parent / "steps", EVENTS, env="raise ValueError('seen')")
    (database.parent / "alembic.ini").write_text("[alembic]\n")
    (database.parent / "pyproject.toml").write_text(
        '[tool.alembic]\nscript_location = "%(here)s/steps"\n'
    )
    database.touch()
    # By itself: what an env.py is told, all engines of its process are.
    process = start_migrate(url=f"sqlite:///{database}", directory=database.parent)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "ValueError: seen (env.py, line 1)" in errors


def test_an_application_migrates_at_its_start(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own: nothing of Alembic is left in the application's."""
    monkeypatch.delenv("DATABASE_URL")
    directory = write_migrations(database.parent / "steps", EVENTS, SEATS)
    done = db.migrate(directory, f"sqlite:///{database}")
    assert [each.revision for each in done.applied] == ["0001", "0002"]
    assert (done.before, done.after) == ((), ("0002",))


def test_an_application_is_told_what_failed(database: Path) -> None:
    """As the error that the command line would print."""
    directory = write_migrations(database.parent / "steps", BROKEN)
    with pytest.raises(DatabaseError, match="migration 0001 has failed, the database is at no"):
        db.migrate(directory)
    with pytest.raises(ConfigError, match="nowhere has no migrations"):
        db.migrate("nowhere")


@pytest.mark.real
@pytest.mark.parametrize("env", [SYNC_ENV, ASYNC_ENV], ids=["sync", "async"])
def test_an_environment_of_the_projects_own_is_used(database: Path, env: str) -> None:
    """As `alembic init` makes it, for blocking and for asynchronous engines."""
    write_migrations(database.parent / "migrations", EVENTS, SEATS, env=env)
    process = start_migrate(url=f"sqlite:///{database}", directory=database.parent)
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert "2 migrations applied" in out
    assert "events" in tables(database)


@pytest.mark.real
def test_an_ini_names_migrations_and_database(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `alembic upgrade head` would use is used; with a driver that its environment can use."""
    monkeypatch.delenv("DATABASE_URL")
    write_migrations(database.parent / "migrations", EVENTS, env=ASYNC_ENV)
    (database.parent / "alembic.ini").write_text(
        f"[alembic]\nscript_location = %(here)s/migrations\nsqlalchemy.url = sqlite:///{database}\n"
    )
    done = db.migrate()
    assert (done.directory, done.after) == ("alembic.ini", ("0001",))


@pytest.mark.real
def test_when_one_is_killed_the_next_goes_on(database: Path) -> None:
    """Its lock ends with it, though the file is left; what it was doing is undone."""
    directory = database.parent / "migrations"
    write_migrations(directory, EVENTS, f"{SEATS}\nopen('begun', 'w').close()\ntime.sleep(60)")
    first = start_migrate(url=f"sqlite:///{database}", directory=database.parent)
    await_true((database.parent / "begun").exists, "the second migration to have begun", 30)
    first.kill()
    first.communicate(timeout=10)

    write_migrations(directory, EVENTS, SEATS)
    assert main(["db", "migrate"]) == 0
    with sqlite3.connect(database) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(events)")]
    connection.close()
    assert columns == ["id", "seats"]
    assert [path.name for path in database.parent.glob("*lock*")] == []


@pytest.mark.real
def test_three_processes_at_once_migrate_once(database: Path) -> None:
    """One does it; the others wait, and find nothing to do."""
    insert = 'op.execute("INSERT INTO events DEFAULT VALUES")'
    write_migrations(database.parent / "migrations", EVENTS, insert)
    with open(database.with_name("app.db.migration-lock"), "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        url = f"sqlite:///{database}"
        processes = [start_migrate("--json", url=url, directory=database.parent) for _ in range(3)]
        for process in processes:
            assert process.stderr is not None
            assert process.stderr.readline() == "waiting for another process that migrates\n"
    told = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, told
    assert sorted(len(json.loads(out)["applied"]) for out, _ in told) == [0, 0, 2]
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)
    connection.close()
    assert [path.name for path in database.parent.glob("*lock*")] == []
