"""`tonnage db report` of a real PostgreSQL: what is found, and that nothing is held up by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.support.postgres import postgres_urls
from tests.support.waiting import await_true

from tonnage.cli.main import main
from tonnage.db.sessions import open_session
from tonnage.db.urls import read_url

pytestmark = pytest.mark.real

SCHEMA = """
CREATE TABLE users (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, email varchar(200) UNIQUE);
CREATE TABLE events (id serial PRIMARY KEY, owner int REFERENCES users ON DELETE CASCADE,
    title text NOT NULL, starts_at timestamptz, photo text)
    WITH (autovacuum_enabled = off);
ALTER TABLE events ALTER photo SET STORAGE EXTERNAL;
CREATE TABLE "Odd Names" (id bigint PRIMARY KEY, "user" int REFERENCES users);
CREATE TABLE children (owner int REFERENCES users);
CREATE INDEX children_owner ON children (owner);
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
def make() -> Iterator[Callable[[], str]]:
    """Yield what makes an empty database."""
    with postgres_urls() as make_url:
        yield make_url


@pytest.fixture(scope="module")
def url(make: Callable[[], str]) -> str:
    """Return a database with what a report is to find."""
    made = make()
    for each in (SCHEMA, *AFTERWARDS.strip().splitlines()):
        run(made, each)
    with pytest.raises(psycopg.errors.UniqueViolation):
        run(made, "CREATE UNIQUE INDEX CONCURRENTLY broken ON events (owner)")
    with closing(psycopg.connect(made, autocommit=True)) as connection:
        for _ in range(25):
            connection.execute("SELECT count(*) FROM events WHERE photo = 'none'")
        connection.execute("SELECT pg_stat_force_next_flush()")
    return made


def run(url: str, statements: str) -> None:
    """Run *statements*, and have what they did counted at once."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(statements.encode())
        connection.execute("SELECT pg_stat_force_next_flush()")


@pytest.fixture
def report(url: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Return what asks for a report."""

    def ask(driver: str = "postgresql", other: str | None = None) -> dict[str, Any]:
        where = (other or url).replace("postgresql", driver, 1)
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
    assert sequence["statement"] == (
        "ALTER SEQUENCE public.events_id_seq AS bigint NO MAXVALUE; "
        "ALTER TABLE public.events ALTER COLUMN id TYPE bigint;"
    )
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
        with open_session(read_url(url)), open_session(read_url(f"{url}&application_name=mine")):
            found = report()
        assert "tonnage 1" in found["facts"]["by application"]
        assert "mine 1" in found["facts"]["by application"]
        assert "forgetful 1" in found["facts"]["by application"]
        assert "1 idle in transaction" in found["facts"]["connections"]
        holder.rollback()
    assert found["unknown"] == ["events: locked by others just now"]
    assert "public.events" not in {table["name"] for table in found["tables"]}
    assert named(sections_of(found)["Indexes there twice"]) == {"public.users_email"}


@pytest.mark.parametrize("what", ["TABLE children", "INDEX children_owner"])
def test_a_locked_index_is_not_missing(
    url: str, report: Callable[..., dict[str, Any]], what: str
) -> None:
    """What was left out is not told to be made."""
    statement = "LOCK TABLE children" if what.startswith("TABLE") else "REINDEX " + what
    with psycopg.connect(url) as holder:
        holder.execute(statement.encode())
        found = report()
        holder.rollback()
    assert found["unknown"] == [f"{what.split()[1]}: locked by others just now"]
    missing = named(sections_of(found)["Foreign keys without an index"])
    assert missing == {
        "public.events (owner)",
        'public."Odd Names" ("user")',
        "public.seats (owner)",
    }


def test_a_lock_that_is_waited_for_is_left_out_too(
    url: str, report: Callable[..., dict[str, Any]]
) -> None:
    """Who asks after a waiting ALTER TABLE would wait as it does."""
    with psycopg.connect(url) as reader, psycopg.connect(url) as changer:
        reader.execute("SELECT FROM children")
        thread = Thread(target=changer.execute, args=(b"ALTER TABLE children ADD note text",))
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IS NOT NULL"
        with closing(psycopg.connect(url, autocommit=True)) as watcher:
            await_true(
                lambda: watcher.execute(waiting.encode()).fetchone() == (1,), "it to wait", 10
            )
        found = report()
        reader.rollback()
        thread.join(10)
        changer.rollback()
    assert found["unknown"] == ["children: locked by others just now"]
    assert "public.children (owner)" not in named(
        sections_of(found)["Foreign keys without an index"]
    )
    assert named(sections_of(found)["Indexes there twice"]) == {
        "public.events_start",
        "public.users_email",
    }


def test_what_was_not_asked_is_not_sound(url: str) -> None:
    """Without the answer about indexes, none is missing, and nothing is said of them."""
    from tonnage.db.report.postgres import ask, report_of

    with open_session(read_url(url)) as session:
        answers, _ = ask(session)
    del answers["indexes"]
    titles = {each.title for each in report_of("here", answers, ("indexes: late",)).sections}
    assert "Dead rows" in titles
    assert not titles & {
        "Foreign keys without an index",
        "Indexes there twice",
        "Unused indexes",
        "Invalid indexes",
    }


def test_indexes_with_other_rules_or_options_are_not_the_same(
    make: Callable[[], str], report: Callable[..., dict[str, Any]]
) -> None:
    """A drop of one of them would lose what only that one does."""
    there = make()
    run(
        there,
        """
        CREATE TABLE rules (x int, y int, name text);
        CREATE UNIQUE INDEX ON rules (x);
        CREATE UNIQUE INDEX ON rules (x) NULLS NOT DISTINCT;
        CREATE INDEX ON rules USING brin (y) WITH (pages_per_range = 1);
        CREATE INDEX ON rules USING brin (y);
        CREATE INDEX ON rules USING brin (x int4_minmax_multi_ops (values_per_range = 16));
        CREATE INDEX ON rules USING brin (x int4_minmax_multi_ops);
        CREATE INDEX plain ON rules (y);
        CREATE INDEX with_more ON rules (y) INCLUDE (x);
        CREATE INDEX ON rules (name COLLATE "C" DESC);
        CREATE INDEX by_name ON rules (name COLLATE "C" DESC);
        """,
    )
    found = sections_of(report(other=there))["Indexes there twice"]
    assert {each["told"] for each in found} == {
        "on public.rules (y): the beginning of public.with_more",
        'on public.rules (name DESC COLLATE "C"): the same as public.by_name',
    }


def test_what_is_said_of_sequences_helps(
    make: Callable[[], str], report: Callable[..., dict[str, Any]]
) -> None:
    """Afterwards rows can be added, and there is nothing more to say."""
    there = make()
    run(
        there,
        """
        CREATE TABLE small (id smallserial, number int GENERATED BY DEFAULT AS IDENTITY);
        CREATE TABLE mixed (id bigint, at bigint);
        CREATE SEQUENCE mixed_id AS int OWNED BY mixed.id;
        CREATE SEQUENCE alone AS smallint;
        SELECT setval('small_id_seq', 32767), setval('small_number_seq', 2147483647),
               setval('mixed_id', 2147483647), setval('alone', 32767);
        """,
    )
    title = "Sequences close to their end"
    findings = sections_of(report(other=there))[title]
    assert len(findings) == 4
    for finding in findings:
        for statement in finding["statement"].split("; "):
            run(there, statement)
    run(there, "INSERT INTO small DEFAULT VALUES")
    run(there, "SELECT nextval('mixed_id'), nextval('alone')")
    assert sections_of(report(other=there))[title] == []


def test_a_role_that_may_not_see_is_told_so(
    make: Callable[[], str], report: Callable[..., dict[str, Any]]
) -> None:
    """Connections of others count; what cannot be seen is not called sound."""
    there = make()
    run(there, "CREATE TABLE secrets AS SELECT 1 AS x; CREATE SEQUENCE hidden")
    role = f"plain_{urlsplit(there).path[1:]}"
    run(there, f"CREATE ROLE {role}")
    as_plain = f"{there}{'&' if '?' in there else '?'}options=-crole%3D{role}"
    with psycopg.connect(there, application_name="shown"):
        found = report(other=as_plain)
    run(there, f"DROP ROLE {role}")
    assert "shown 1" in found["facts"]["by application"]
    assert " of other roles" in found["facts"]["connections"]
    assert found["unknown"] == [
        "what other roles' connections do: needs GRANT pg_read_all_stats",
        "bloat, of 1 table: needs GRANT pg_read_all_data",
        "sequences close to their end, of 1 sequence: needs GRANT pg_read_all_data",
    ]
    titles = set(sections_of(found))
    assert not titles & {"Connections", "Bloat", "Sequences close to their end"}
    assert "Dead rows" in titles


def test_sizes_are_as_they_are(
    make: Callable[[], str], report: Callable[..., dict[str, Any]]
) -> None:
    """Of tables that were never analyzed, and of those in parts, too."""
    there = make()
    run(
        there,
        """
        CREATE TABLE owners (id int PRIMARY KEY);
        CREATE TABLE parts (owner int REFERENCES owners) PARTITION BY RANGE (owner);
        CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
        CREATE TABLE fresh (owner int REFERENCES owners, n int) WITH (autovacuum_enabled = off);
        INSERT INTO owners VALUES (1);
        INSERT INTO fresh SELECT 1, n FROM generate_series(1, 5000) n;
        CREATE INDEX ON fresh (n);
        ANALYZE parts;
        """,
    )
    found = report(other=there)
    missing = sections_of(found)["Foreign keys without an index"]
    sizes = {each["what"]: each["size_bytes"] for each in missing}
    (fresh,) = (each for each in found["tables"] if each["name"] == "public.fresh")
    assert sizes == {"public.fresh (owner)": fresh["table_bytes"], "public.parts (owner)": None}
    assert fresh["table_bytes"] > 100_000
    assert fresh["index_bytes"] > 100_000
    assert all(each["table_bytes"] >= 0 for each in found["tables"])


def test_nothing_can_be_written(url: str) -> None:
    """The transaction that asks refuses it."""
    from tonnage.db.report.postgres import ask
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
