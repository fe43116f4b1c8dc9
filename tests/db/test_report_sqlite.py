"""`tonnage db report` of SQLite files: real ones, and read only."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tonnage.cli.main import main
from tonnage.db.report.schema import ask
from tonnage.db.report.sqlite import report_of
from tonnage.db.sessions import Session, open_session
from tonnage.db.urls import read_url
from tonnage.errors import DatabaseError

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT UNIQUE);
CREATE TABLE "order" (id TEXT PRIMARY KEY, user INTEGER REFERENCES users) WITHOUT ROWID;
CREATE TABLE events (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES users, title TEXT);
CREATE TABLE seats (event INTEGER REFERENCES events, owner INTEGER REFERENCES users);
CREATE INDEX events_title ON events (title);
CREATE INDEX events_title_id ON events (title, id DESC);
CREATE INDEX events_owner ON events (owner) WHERE owner > 3;
CREATE INDEX events_lower ON events (lower(title));
CREATE INDEX seats_event ON seats (event) WHERE event IS NOT NULL;
CREATE INDEX users_email ON users (email);
"""


def make(path: Path, statements: str, rows: int = 0) -> Path:
    """Make a database of *statements* with *rows* events; return its path."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statements)
        connection.executemany(
            "INSERT INTO events (owner, title) VALUES (?, ?)",
            ((number, "x" * 500) for number in range(1, rows + 1)),
        )
        connection.commit()
    return path


def reported(path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Return the report on the database *path*."""
    assert main(["db", "report", f"sqlite:///{path}", "--json", *words]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def found_of(report: dict[str, Any], title: str) -> list[dict[str, Any]]:
    """Return the findings of the section *title*."""
    sections = {section["title"]: section["findings"] for section in report["sections"]}
    found: list[dict[str, Any]] = sections[title]
    return found


def test_indexes_are_told_of_with_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice there, and missing; names are quoted where they must be, and not taken."""
    report = reported(make(tmp_path / "a.db", SCHEMA), capsys)
    assert [each["statement"] for each in found_of(report, "Indexes there twice")] == [
        "DROP INDEX events_title;",
        "DROP INDEX users_email;",
    ]
    missing = {each["statement"] for each in found_of(report, "Foreign keys without an index")}
    assert missing == {
        "CREATE INDEX events_owner_all ON events (owner);",
        'CREATE INDEX order_user ON "order" (user);',
        "CREATE INDEX seats_owner ON seats (owner);",
    }
    assert any(each.startswith("unused indexes: ") for each in report["unknown"])


def test_what_is_proposed_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every statement is run here, by us; then the report has nothing more to say."""
    path = make(tmp_path / "a.db", SCHEMA, 4000)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM events WHERE id % 4 > 0")
        connection.commit()
    report = reported(path, capsys)
    titles = {section["title"] for section in report["sections"] if section["findings"]}
    assert titles == {
        "Indexes there twice",
        "Foreign keys without an index",
        "Statistics",
        "The file",
    }
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for section in report["sections"]:
            for finding in section["findings"]:
                connection.execute(finding["statement"])
    again = reported(path, capsys)
    assert [section for section in again["sections"] if section["findings"]] == []


def test_columns_may_have_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one by which a row's number goes; keys of several columns are no row's number."""
    report = reported(
        make(
            tmp_path / "a.db",
            """
            CREATE TABLE users (id INTEGER PRIMARY KEY);
            CREATE TABLE a (RowID TEXT);
            CREATE TABLE b (rowid TEXT, oid TEXT, _rowid_ TEXT);
            CREATE TABLE c (owner INTEGER REFERENCES users, n TEXT, PRIMARY KEY (n, owner));
            CREATE TABLE d (owner INTEGER REFERENCES users, n TEXT, PRIMARY KEY (owner, n));
            CREATE TABLE events (owner INTEGER, title TEXT);
            INSERT INTO a VALUES ('x'), ('y');
            INSERT INTO b VALUES ('x', 'y', 'z');
            """,
        ),
        capsys,
    )
    rows = {table["name"]: table["rows"] for table in report["tables"]}
    assert (rows["a"], rows["b"]) == (2, None)
    missing = [each["what"] for each in found_of(report, "Foreign keys without an index")]
    assert missing == ["c (owner)"]


def test_conditions_of_indexes_may_be_written_in_any_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for what stands in a text, which is another with every letter."""
    report = reported(
        make(
            tmp_path / "a.db",
            """
            CREATE TABLE users (id INTEGER PRIMARY KEY);
            CREATE TABLE events (owner INTEGER REFERENCES users, title TEXT);
            create index a on events (owner) where ("owner"  is not null);
            create index b on events (title) where title = 'WHERE x';
            create index c on events (title) where title <> 'WHERE x';
            create index d on events (title) where title = 'WHERE  x';
            CREATE INDEX e ON events (title) WHERE title = 'WHERE x';
            """,
        ),
        capsys,
    )
    assert found_of(report, "Foreign keys without an index") == []
    twice = [each["what"] for each in found_of(report, "Indexes there twice")]
    assert twice == ["e"]


def test_tables_are_shown_with_their_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The largest first."""
    report = reported(make(tmp_path / "a.db", SCHEMA, 1000), capsys)
    first = report["tables"][0]
    assert (first["name"], first["rows"]) == ("events", 1000)
    if first["table_bytes"] is None:
        assert any("sizes" in each for each in report["unknown"])  # this SQLite has no dbstat
    else:
        assert first["table_bytes"] > 1000 * 500


def test_a_log_that_nobody_merged_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a connection keeps it; the file is opened for reading only."""
    path = make(tmp_path / "a.db", f"PRAGMA journal_mode=WAL;{SCHEMA}")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint=0")
        rows = (("x" * 4000,) for _ in range(4500))
        writer.executemany("INSERT INTO users (email) VALUES (? || random())", rows)
        writer.commit()
        before = path.stat().st_mtime_ns
        (finding,) = found_of(reported(path, capsys), "The file")
        assert finding["statement"] == "PRAGMA wal_checkpoint(TRUNCATE);"
        assert finding["size_bytes"] > 16 * 2**20
        assert path.stat().st_mtime_ns == before


def test_damage_is_looked_for_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that refer to none count, and so does what quick_check says."""
    path = make(tmp_path / "a.db", SCHEMA, 3)
    assert "Damage" not in {section["title"] for section in reported(path, capsys)["sections"]}
    (finding,) = found_of(reported(path, capsys, "--quick-check"), "Damage")
    assert finding["told"] == "3 rows of events without one of users"


@pytest.mark.parametrize(
    ("url", "status", "message"),
    [
        ("sqlite:///nowhere.db", 1, "there is no database nowhere.db"),
        ("sqlite:///text.txt", 1, "file is not a database"),
        ("sqlite://", 2, "a database in memory is gone when its process ends"),
        ("mysql://me:s3cret@host/x", 2, "there are reports on PostgreSQL and SQLite"),
        (None, 2, "no database is named"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    url: str | None,
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is made, and no password is shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    (tmp_path / "text.txt").write_text("no database " * 200)
    assert main(["db", "report", *([url] if url else [])]) == status
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert "s3cret" not in told
    assert [each.name for each in tmp_path.iterdir()] == ["text.txt"]


def test_a_file_that_may_not_be_read_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """As what cannot be asked is."""
    with TemporaryDirectory() as directory:
        path = make(Path(directory) / "app.db", SCHEMA)
        path.parent.chmod(0o755)
        path.chmod(0)
        with _as_nobody():
            assert main(["db", "report", f"sqlite:///{path}"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("tonnage: error: sqlite:///")
    assert told.count("\n") == 1


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Have no more rights than others have."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_question_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """It is interrupted; the next one is answered."""
    url = read_url(f"sqlite:///{make(tmp_path / 'a.db', SCHEMA)}")
    late = pytest.raises(DatabaseError, match=r"it took longer than 0\.1 s")
    with open_session(url, statement_seconds=0.1) as session, late:
        session.rows(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        )
    with open_session(url) as session:
        assert session.rows("SELECT 1 AS one") == [{"one": 1}]


def test_sizes_that_cannot_be_asked_leave_the_rest(tmp_path: Path) -> None:
    """They need all of the file to be read, and a part of SQLite that not every one has."""

    class WithoutSizes:
        def __init__(self, session: Session) -> None:
            self._session = session

        def rows(self, statement: str) -> list[dict[str, Any]]:
            if "dbstat" in statement:
                raise DatabaseError("it took longer than 10 s")
            return self._session.rows(statement)

        def close(self) -> None:
            pass

    url = read_url(f"sqlite:///{make(tmp_path / 'a.db', SCHEMA)}")
    with open_session(url) as session:
        report = report_of(url.shown, ask(WithoutSizes(session)))
    assert "sizes of tables and indexes: it took longer than 10 s" in report.unknown
    assert {table.table_bytes for table in report.tables} == {None}
    assert sum(len(section.findings) for section in report.sections) > 0
