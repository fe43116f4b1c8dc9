"""`tonnage db report` of a real PostgreSQL: what is found, and that nothing is held up by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from tests.support.postgres import postgres_urls

from tonnage.cli.main import main

pytestmark = pytest.mark.real

SCHEMA = """
CREATE TABLE users (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, email varchar(200) UNIQUE);
CREATE TABLE events (id serial PRIMARY KEY, owner int REFERENCES users ON DELETE CASCADE,
    title text NOT NULL, starts_at timestamptz, photo text)
    WITH (autovacuum_enabled = off);
ALTER TABLE events ALTER photo SET STORAGE EXTERNAL;
CREATE TABLE "Odd Names" (id bigint PRIMARY KEY, "user" int REFERENCES users);
CREATE TABLE seats (event int REFERENCES events, owner int REFERENCES users)
    PARTITION BY RANGE (event);
CREATE TABLE seats_1 PARTITION OF seats DEFAULT;
INSERT INTO users (email) SELECT 'u' || n || '@example.org' FROM generate_series(1, 1000) n;
INSERT INTO events (owner, title, starts_at, photo)
    SELECT 1 + n % 1000, 'Event ' || n || repeat('x', 300), now() + n * interval '1 min',
           CASE WHEN n < 200 THEN repeat(md5(n::text), 2000) END
      FROM generate_series(1, 30000) n;
CREATE INDEX events_start ON events (starts_at);
CREATE INDEX events_start_id ON events (starts_at, id DESC);
CREATE INDEX events_owner ON events (owner) WHERE owner > 5;
CREATE INDEX seats_event ON seats (event) WHERE event IS NOT NULL;
CREATE INDEX users_email ON users (email);
CREATE INDEX events_pattern ON events (title text_pattern_ops);
CREATE INDEX events_title ON events (title);
"""
AFTERWARDS = """
ANALYZE;
SELECT setval('events_id_seq', 1800000000);
DELETE FROM events WHERE id % 2 = 0;
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Yield a database with what a report is to find."""
    with postgres_urls() as make:
        made = make()
        for each in (SCHEMA, *AFTERWARDS.strip().splitlines()):
            run(made, each)
        with pytest.raises(psycopg.errors.UniqueViolation):
            run(made, "CREATE UNIQUE INDEX CONCURRENTLY broken ON events (owner)")
        with closing(psycopg.connect(made, autocommit=True)) as connection:
            for _ in range(25):
                connection.execute("SELECT count(*) FROM events WHERE photo = 'none'")
            connection.execute("SELECT pg_stat_force_next_flush()")
        yield made


def run(url: str, statements: str) -> None:
    """Run *statements*, and have what they did counted at once."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(statements.encode())
        connection.execute("SELECT pg_stat_force_next_flush()")


@pytest.fixture
def report(url: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Return what asks for a report."""

    def ask(driver: str = "postgresql") -> dict[str, Any]:
        where = url.replace("postgresql", driver, 1)
        assert main(["db", "report", where, "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return ask


def sections_of(report: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the findings by the title of their section."""
    return {section["title"]: section["findings"] for section in report["sections"]}


def named(findings: list[dict[str, Any]]) -> set[str]:
    """Return what *findings* are of."""
    return {finding["what"] for finding in findings}


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg"])
def test_indexes_are_told_of(report: Callable[..., dict[str, Any]], driver: str) -> None:
    """Twice there, missing, unused and invalid ones, with either driver."""
    found = report(driver)
    assert found["unknown"] == []
    sections = sections_of(found)
    assert {each["statement"] for each in sections["Indexes there twice"]} == {
        "DROP INDEX CONCURRENTLY public.events_start;",
        "DROP INDEX CONCURRENTLY public.users_email;",
    }
    assert {each["statement"] for each in sections["Foreign keys without an index"]} == {
        "CREATE INDEX CONCURRENTLY ON public.events (owner);",
        'CREATE INDEX CONCURRENTLY ON public."Odd Names" ("user");',
        "CREATE INDEX ON public.seats (owner);",
    }
    # That of users is too small for a word.
    assert named(sections["Unused indexes"]) == {
        "public.events_start",
        "public.events_start_id",
        "public.events_owner",
        "public.events_pattern",
        "public.events_title",
    }
    assert named(sections["Invalid indexes"]) == {"public.broken"}


def test_tables_and_sequences_are_told_of(report: Callable[..., dict[str, Any]]) -> None:
    """Dead rows, readings of a whole table, large values, and numbers that run out."""
    found = report()
    sections = sections_of(found)
    assert named(sections["Dead rows"]) == {"public.events"}
    assert named(sections["Large tables read from end to end"]) == {"public.events"}
    assert named(sections["Statistics"]) == {"public.events"}
    (large,) = sections["Large values"]
    assert large["told"].endswith("; columns without a bound: title, photo")
    assert large["size_bytes"] > 10 * 2**20
    (sequence,) = sections["Sequences close to their end"]
    assert sequence["statement"] == "ALTER TABLE public.events ALTER COLUMN id TYPE bigint;"
    assert sequence["told"].startswith("84 % of 2,147,483,647 used")
    assert found["tables"][0]["name"] == "public.events"
    assert found["tables"][0]["table_bytes"] > 20 * 2**20


def test_a_table_that_has_shrunk_is_bloat(url: str, report: Callable[..., dict[str, Any]]) -> None:
    """Its rows are gone, its pages stay."""
    run(
        url,
        "CREATE TABLE logs AS SELECT n, repeat('x', 900) AS line FROM generate_series(1, 20000) n",
    )
    run(url, "DELETE FROM logs WHERE n % 4 > 0")
    run(url, "VACUUM ANALYZE logs")
    (finding,) = sections_of(report())["Bloat"]
    assert finding["statement"] == "VACUUM FULL public.logs;"
    assert 10 * 2**20 < finding["size_bytes"] < 20 * 2**20


def test_a_forgotten_transaction_and_locks_do_not_hold_it_up(
    url: str, report: Callable[..., dict[str, Any]]
) -> None:
    """The tables that it has for itself are left out and named; nothing is waited for long."""
    with psycopg.connect(url, application_name="forgetful") as holder:
        holder.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        found = report()
        assert "forgetful 1" in found["facts"]["by application"]
        assert "1 idle in transaction" in found["facts"]["connections"]
        holder.rollback()
    assert found["unknown"] == ["events: locked by others just now"]
    assert "public.events" not in {table["name"] for table in found["tables"]}
    assert named(sections_of(found)["Indexes there twice"]) == {"public.users_email"}


def test_nothing_can_be_written(url: str) -> None:
    """The transaction that asks refuses it."""
    from tonnage.db.report.postgres import ask
    from tonnage.db.sessions import open_session
    from tonnage.db.urls import read_url
    from tonnage.errors import DatabaseError

    with open_session(read_url(url)) as session:
        ask(session)
        session.rows("BEGIN READ ONLY")
        with pytest.raises(DatabaseError, match="read-only"):
            session.rows("DELETE FROM events")
        session.rows("ROLLBACK")


def test_it_is_read_in_a_terminal(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of 100 columns, but for statements, which are to be copied whole."""
    assert main(["db", "report", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("      ")) <= 100
    assert lines[-1].endswith(" findings")
    assert any(line.startswith("FOREIGN KEYS WITHOUT AN INDEX (3, ") for line in lines)
